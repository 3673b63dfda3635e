"""A patched Conduit that is made to fetch all that the old Synapse still has."""

import subprocess
from pathlib import Path

import predecessor
from notes import Notes


def try_out(lab: Notes, binary: Path, database: Path, importer: Path, dump: Path) -> str:
    """Runs `importer drain` on it; gives what that printed. Raises if there was an error, or something is missing."""
    with predecessor.running(lab, binary, database) as base_url:
        run = subprocess.run([importer, "drain", "--conduit", base_url, "--dump", dump, "--format", "json",
                              "--no-progress"], capture_output=True, text=True, check=False)
    # What nobody may see is a warning.
    assert run.returncode in (0, 11), (run.returncode, run.stdout, run.stderr)
    return run.stdout
