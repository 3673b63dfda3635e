"""Running programs, with what they cost."""

import os
import subprocess
import sys
import time
from pathlib import Path

LAB = Path(__file__).parents[1] / "lab"


class Programs:
    """The programs under test, and a directory to work in."""

    def __init__(self, built: Path, scratch: Path):
        self.built, self.scratch = built.resolve(), scratch

    def lab(self, command: str, directory: Path, *more: str) -> None:
        subprocess.run([sys.executable, LAB, command, "--dir", directory, *more], check=True, stdout=subprocess.DEVNULL)

    def run(self, program: str, *arguments: object, cores: str = "") -> dict:
        """Runs one of the built programs, on some cores only if these are named. Exit code 11 says that there are warnings."""
        path = self.built / program
        options = ["--no-progress"] if program == "importer" else []
        where = ["taskset", "--cpu-list", cores] if cores else []
        return cost([*where, path, *map(str, arguments), *options], self.scratch / f"{path.name}.log", accepted=(0, 11))

    def tell(self, program: str, *arguments: object) -> dict:
        """As `run`; gives the last line that it printed."""
        log = self.scratch / f"{Path(program).name}.log"
        spent = self.run(program, *arguments)
        return spent | {"said": log.read_text().strip().splitlines()[-1]}


def cost(command: list, log: Path, accepted=(0,), **options) -> dict:
    """Wall clock and processor time in seconds, and the most memory in MiB that was resident."""
    with open(log, "w") as output:
        begin = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **options)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in accepted:
        raise SystemExit(f"{command} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    return {"seconds": wall, "processor": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss / 1024}


def best(times: int, measure) -> dict:
    """The fastest of several runs: what disturbs a run only makes it slower."""
    return min((measure() for _ in range(times)), key=lambda spent: spent["seconds"])
