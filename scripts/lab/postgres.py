"""A PostgreSQL cluster of the laboratory's own, reached by a socket alone."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

DATABASE = "synapse"


def binaries() -> Path:
    """The newest installed server; its programs are usually not on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    if not initdb:
        raise SystemExit("PostgreSQL is not installed (package `postgresql`)")
    return Path(initdb).parent


def run(program: str, *args: object) -> None:
    """Runs one of its programs, as the user `postgres` if we are root: the server refuses to run as root."""
    user = "postgres" if os.geteuid() == 0 else None
    done = subprocess.run([binaries() / program, *map(str, args)], user=user, group=user,
                          extra_groups=[] if user else None, stdin=subprocess.DEVNULL,
                          env={"LC_ALL": "C", "PATH": os.environ["PATH"]}, cwd="/", text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"{program} failed: {done.stderr.strip()}")


def own(path: Path) -> None:
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "postgres:postgres", path], check=True)


def start(directory: Path) -> dict:
    """Starts the cluster in `directory`, which it makes at first; returns the arguments to connect with."""
    # A socket's path may have 107 bytes: it can't live in a deep directory.
    socket = Path(tempfile.mkdtemp(prefix="lab-postgres-"))
    socket.chmod(0o755)
    own(socket)
    new = not directory.exists()
    if new:
        directory.mkdir(mode=0o700)
    own(directory)
    if new:
        run("initdb", "-D", directory, "-U", DATABASE, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    # Nothing of a laboratory must survive a power cut.
    options = f"-k {socket} -c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    run("pg_ctl", "start", "-w", "-D", directory, "-l", directory / "server.log", "-o", options)
    if new:
        run("createdb", "-h", socket, "-U", DATABASE, "-T", "template0", DATABASE)
    return {"user": DATABASE, "dbname": DATABASE, "host": str(socket), "cp_min": 2, "cp_max": 5}


def running(directory: Path) -> bool:
    try:
        pid = (directory / "postmaster.pid").read_text().split()[0]
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, IndexError):
        return False


def stop(directory: Path, socket: str) -> None:
    run("pg_ctl", "stop", "-w", "-m", "fast", "-D", directory)
    shutil.rmtree(socket, ignore_errors=True)
