"""Every event of the database, asked for by its id: nobody is given on Conduit what Synapse refused."""

import json
import sqlite3
from pathlib import Path

from api import Client, Refused, q
from notes import Notes

# Explained: Synapse hides from a user what somebody says whom he ignores; Conduit leaves that to the client.
IGNORES = {"dan": "eve"}
SHOWN = 20


def events(lab: Notes) -> list[tuple[str, str, str]]:
    """All events that Synapse has, in timelines or not: room, event, sender."""
    sql = "SELECT room_id, event_id, sender FROM events ORDER BY event_id"
    if lab["engine"] == "sqlite":
        path = Path(lab["database"]["args"]["database"])
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            return database.execute(sql).fetchall()
    import psycopg2
    args = {key: value for key, value in lab["database"]["args"].items() if not key.startswith("cp_")}
    with psycopg2.connect(**args) as database, database.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


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


def write(lab: Notes, output: Path) -> None:
    """What Synapse refuses, by user."""
    known = events(lab)
    refused = {name: [event for event in known if not shows(client, f"/rooms/{q(event[0])}/event/{q(event[1])}")]
               for name, client in people(lab, lab["base_url"])}
    output.write_text(json.dumps(refused))


def compare(lab: Notes, base_url: str, before: Path) -> int:
    """Asks for all of that. Returns how much is given."""
    refused, given, asked = json.loads(before.read_text()), [], 0
    for name, client in people(lab, base_url):
        for room, event, sender in refused[name]:
            if IGNORES.get(name) == sender.removeprefix("@").partition(":")[0]:
                continue
            for path in (f"/rooms/{q(room)}/event/{q(event)}", f"/rooms/{q(room)}/context/{q(event)}?limit=0"):
                asked += 1
                if shows(client, path):
                    given.append(f"{name} is shown {path}")
    print("\n".join(given[:SHOWN]))
    print(f"{len(given)} of {asked} requests for events that Synapse refuses are answered")
    return len(given)
