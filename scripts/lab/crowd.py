"""A long room that ten devices drain from a patched Conduit at the same time, and how much memory that takes."""

import concurrent.futures
from pathlib import Path

import conduit
import past
from notes import Notes
from people import Family
from predecessor import say

PEOPLE = ("ada", "ben", "cleo", "dan", "eve", "finn", "hana", "iris", "jack")
# What Conduit may hold more than before anybody scrolled, in MiB: its caches fill, and ten devices are answered at once.
GROWTH_MIB = 256


def tell(lab: Notes, events: int) -> None:
    """A room of nine people and so many messages."""
    family = Family(lab)
    room = past.create(family, "10", *PEOPLE[1:], name="A crowd")
    with concurrent.futures.ThreadPoolExecutor(len(PEOPLE)) as pool:
        list(pool.map(lambda number: family[PEOPLE[number % len(PEOPLE)]].say(room, f"In the crowd {number}"), range(events)))
    lab["crowd"] = room
    lab.save()


def try_out(lab: Notes, binary: Path, database: Path) -> None:
    """Synapse runs; the database was made from what was recent. Raises at what is wrong."""
    room = lab["crowd"]
    # What one of them sees, all do.
    expected = past.everything(Family(lab)["ada"], room)
    process, base_url = conduit.start(lab, binary, database, past.section(lab), federation=True)
    try:
        family = Family(lab, base_url)
        # Everybody, and Ada on a second device.
        readers = [(name, family[name]) for name in PEOPLE] + [("ada", family.devices["ada"][1])]
        for _, reader in readers:
            reader.get("/account/whoami")
        at_first = memory(process.pid, "VmRSS")
        with concurrent.futures.ThreadPoolExecutor(len(readers)) as pool:
            shown = list(pool.map(lambda reader: past.everything(reader[1], room), readers))
        most = memory(process.pid, "VmHWM")
        for (name, _), events in zip(readers, shown, strict=True):
            past.same(name, *(past.shown_by_both(seen, family.id(name)) for seen in (events, expected)))
    finally:
        process.terminate()
        process.wait(conduit.START_SECONDS)
    say(f"{len(readers)} devices read {len(expected)} events at the same time, each as on Synapse; "
        f"Conduit took {at_first} MiB before and {most} MiB at most")
    assert most < at_first + GROWTH_MIB, (at_first, most)


def memory(pid: int, field: str) -> int:
    """Of a process, in MiB."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status[field].split()[0]) // 1024
