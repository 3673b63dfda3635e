"""Every event of the database, asked for by its id: nobody is given on the new server what Synapse refused."""

import json
import sqlite3
from pathlib import Path

from api import Client, Refused, q
from notes import Notes

# Explained: Synapse hides from a user what somebody says whom he ignores; the others leave that to the client.
IGNORES = {"dan": "eve"}
SHOWN = 20


def events(lab: Notes, only: str = "TRUE") -> list[list[str]]:
    """The events that Synapse has, in timelines or not, all or those of which a condition in SQL holds: room, event, sender."""
    sql = f"SELECT room_id, event_id, sender FROM events WHERE {only} ORDER BY event_id"
    if lab["engine"] == "sqlite":
        path = Path(lab["database"]["args"]["database"])
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            return [list(row) for row in database.execute(sql)]
    import psycopg2
    args = {key: value for key, value in lab["database"]["args"].items() if not key.startswith("cp_")}
    with psycopg2.connect(**args) as database, database.cursor() as cursor:
        cursor.execute(sql)
        return [list(row) for row in cursor]


def people(lab: Notes, base_url: str):
    """Everybody's first device: each is outside of some rooms, came late to others, and has left some."""
    for name, user in sorted(lab["users"].items()):
        for device in user["devices"][:1]:
            yield name, Client(base_url, device["access_token"], user["user_id"], device["device_id"])


def shows(client: Client, path: str) -> bool:
    try:
        client.get(path)
        return True
    except Refused:
        return False


def refused(lab: Notes, known: list[list[str]], *names: str) -> dict[str, list[list[str]]]:
    """What Synapse refuses of these events, by user: everybody, or those who are named."""
    return {name: [event for event in known if not shows(client, f"/rooms/{q(event[0])}/event/{q(event[1])}")]
            for name, client in people(lab, lab["base_url"]) if name in names or not names}


def write(lab: Notes, output: Path) -> None:
    """What Synapse refuses, by user."""
    output.write_text(json.dumps(refused(lab, events(lab))))


def given(lab: Notes, base_url: str, hidden: dict[str, list[list[str]]]) -> tuple[list[str], int]:
    """Asks for all of that. Returns what is given, and how many requests there were."""
    answered, asked = [], 0
    for name, client in people(lab, base_url):
        for room, event, sender in hidden.get(name, ()):
            # Whether Synapse gives somebody his own leave depends on whether it has the event in memory with what was before it.
            if sender == client.user_id or IGNORES.get(name) == sender.removeprefix("@").partition(":")[0]:
                continue
            for path in (f"/rooms/{q(room)}/event/{q(event)}", f"/rooms/{q(room)}/context/{q(event)}?limit=0"):
                asked += 1
                if shows(client, path):
                    answered.append(f"{name} is shown {path}")
    return answered, asked


def compare(lab: Notes, base_url: str, before: Path) -> int:
    """Asks for what Synapse refused. Returns how much is given."""
    answered, asked = given(lab, base_url, json.loads(before.read_text()))
    print("\n".join(answered[:SHOWN]))
    print(f"{len(answered)} of {asked} requests for events that Synapse refuses are answered")
    return len(answered)
