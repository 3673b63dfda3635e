"""A client: a program that is told by lines of JSON what to do, and answers each with one."""

import json
import shutil
import subprocess
from pathlib import Path


def javascript(installed: Path, base_url: str) -> list:
    """The command for matrix-js-sdk. Node finds modules next to the files that want them."""
    for file in (Path(__file__).parent / "js").glob("*.mjs"):
        shutil.copy(file, installed / "js")
    return ["node", installed / "js/main.mjs", base_url]


class Failed(Exception):
    """What the client says went wrong."""


class Program:
    """Runs as long as this block; `log` gets what it says on standard error."""

    def __init__(self, command: list, log: Path, cwd: Path | None = None):
        self.command, self.log, self.cwd = command, log, cwd

    def __enter__(self) -> "Program":
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(self.command, cwd=self.cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=log, text=True)
        return self

    def __exit__(self, *_error) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def ask(self, what: str, device: str, **how):
        self.process.stdin.write(json.dumps({"do": what, "device": device, **how}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise Failed(f"{device}: {what}: the client ended; see {self.log}")
        answer = json.loads(answer)
        if "error" in answer:
            raise Failed(f"{device}: {what}: {answer['error']}")
        return answer["ok"]


class On:
    """One device of a program: `device.say(room=..., text=...)`."""

    def __init__(self, program: Program, name: str):
        self.program, self.name = program, name

    def __getattr__(self, what: str):
        return lambda **how: self.program.ask(what, self.name, **how)
