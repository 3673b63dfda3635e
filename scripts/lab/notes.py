"""`lab.json`: what the laboratory knows about itself."""

import json
import os
from pathlib import Path


class Notes(dict):
    """A dictionary that is kept in `DIR/lab.json`, readable by its owner alone."""

    def __init__(self, directory: Path):
        super().__init__()
        self.dir = directory
        self.path = directory / "lab.json"
        if self.path.exists():
            self.update(json.loads(self.path.read_text()))

    def save(self) -> None:
        scratch = self.path.with_suffix(".partial")
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(self, file, indent=1, ensure_ascii=False, sort_keys=True)
        scratch.rename(self.path)
