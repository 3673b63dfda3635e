"""What the patches cost: the processor time that a patched Conduit takes for requests in a room of which nothing is missing, against
a stock one on the same database."""

import shutil
import statistics
import time
from pathlib import Path

import conduit
import past
from api import Client, q
from notes import Notes
from people import Family

ROUNDS = 15
REQUESTS = 200


def measure(lab: Notes, patched: Path, stock: Path, database: Path) -> None:
    """Both run at the same time and are asked in turns. Prints a table; nothing is judged."""
    room = lab["past"]["long"]
    copy = database.with_name(database.name + "-stock")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(database, copy)
    with conduit.running(lab, patched, database, past.section(lab), federation=True) as first, \
            conduit.running(lab, stock, copy) as second:
        servers = {"patched": (Family(lab, first)["ada"], pid(database)), "stock": (Family(lab, second)["ada"], pid(copy))}
        newest = past.everything(servers["patched"][0], room)
        event, root = newest[50]["id"], next(event["id"] for event in newest if event["replies"])
        requests = {
            "/account/whoami": lambda ada: ada.get("/account/whoami"),
            "/messages, 30 events": lambda ada: ada.get(f"/rooms/{q(room)}/messages", dir="b", limit=30),
            "/context": lambda ada: ada.get(f"/rooms/{q(room)}/context/{q(event)}", limit=10),
            "/threads": lambda ada: ada.get(f"/_matrix/client/v1/rooms/{q(room)}/threads", include="all", limit=10),
            "/relations": lambda ada: ada.get(f"/_matrix/client/v1/rooms/{q(room)}/relations/{q(root)}", limit=10),
            "/event": lambda ada: ada.get(f"/rooms/{q(room)}/event/{q(event)}"),
        }
        print("| request | patched | stock | ratio |\n|---|--:|--:|--:|")
        for name, request in requests.items():
            took: dict[str, list[float]] = {server: [] for server in servers}
            for number in range(ROUNDS + 1):
                for server, (ada, process) in servers.items():
                    spent = time_of(ada, process, request)
                    if number:
                        took[server].append(spent)
            [ours, theirs] = [statistics.median(took[server]) for server in ("patched", "stock")]
            print(f"| {name} | {ours:.3f} ms | {theirs:.3f} ms | {ours / theirs:.2f} |", flush=True)


def time_of(ada: Client, process: int, request) -> float:
    """The processor time of the process for one request, in milliseconds."""
    # What clock_getcpuclockid(3) gives.
    clock = ~process << 3 | 2
    before = time.clock_gettime_ns(clock)
    for _ in range(REQUESTS):
        request(ada)
    return (time.clock_gettime_ns(clock) - before) / 1e6 / REQUESTS


def pid(database: Path) -> int:
    """The process that was started with the configuration beside a database."""
    wanted = f"CONDUIT_CONFIG={database.with_suffix('.toml')}"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted.encode() in (process / "environ").read_bytes().split(b"\0"):
                return int(process.name)
        except OSError:
            continue
    raise SystemExit(f"no Conduit runs with {wanted}")
