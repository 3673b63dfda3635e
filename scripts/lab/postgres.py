"""A PostgreSQL cluster of the laboratory's own, reached by a socket alone."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

DATABASE = "synapse"
# Not /tmp, which may be a small file system in memory.
ELSEWHERE = Path("/var/tmp")


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


def reaches(directory: Path) -> bool:
    """Whether the server's user can come to a directory: root's home, for one, is closed to others."""
    if os.geteuid() != 0:
        return True
    return subprocess.run(["test", "-x", directory], user="postgres", group="postgres", extra_groups=[], check=False,
                          cwd="/").returncode == 0


def settle(directory: Path) -> Path:
    """Where the data is while the server runs: if its user can't come to `directory`, elsewhere, with a link to it."""
    if directory.is_symlink() or reaches(directory.parent):
        return directory
    elsewhere = Path(tempfile.mkdtemp(prefix="lab-postgres-", dir=ELSEWHERE))
    own(elsewhere)
    data = elsewhere / "data"
    if directory.exists():
        shutil.move(directory, data)
    directory.symlink_to(data)
    return directory


def bring_back(directory: Path) -> None:
    """Makes what is elsewhere a part of the laboratory again, which can then be copied."""
    if directory.is_symlink():
        data = directory.readlink()
        directory.unlink()
        shutil.move(data, directory)
        data.parent.rmdir()


def start(directory: Path) -> dict:
    """Starts the cluster in `directory`, which it makes at first; returns the arguments to connect with."""
    # A socket's path may have 107 bytes: it can't live in a deep directory, nor where `TMPDIR` is one.
    socket = Path(tempfile.mkdtemp(prefix="lab-postgres-", dir="/tmp"))
    socket.chmod(0o755)
    own(socket)
    new = not directory.exists()
    data = settle(directory).resolve()
    if new:
        data.mkdir(mode=0o700, parents=True)
    own(data)
    if new:
        run("initdb", "-D", data, "-U", DATABASE, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    # Nothing of a laboratory must survive a power cut.
    options = f"-k {socket} -c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    run("pg_ctl", "start", "-w", "-D", data, "-l", data / "server.log", "-o", options)
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
    run("pg_ctl", "stop", "-w", "-m", "fast", "-D", directory.resolve())
    bring_back(directory)
    shutil.rmtree(socket, ignore_errors=True)
