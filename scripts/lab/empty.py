"""A Synapse without users, whose database is complete and waits to be filled from outside (`tests/examples/generate.rs`)."""

import contextlib
import sqlite3
import time

import psycopg2
import synapse
from notes import Notes

UPDATE_SECONDS = 300


def prepare(lab: Notes, engine: str) -> None:
    """Lets Synapse make its tables and all that it adds to them in the background; stops it. PostgreSQL goes on."""
    lab["alone"] = True
    synapse.meet([lab])
    synapse.start(lab, engine)
    deadline = time.monotonic() + UPDATE_SECONDS
    while updates(lab):
        if time.monotonic() > deadline:
            raise SystemExit(f"Synapse has not finished its tables; see {lab.dir / 'synapse.log'}")
        time.sleep(0.2)
    synapse.quit(lab)


def resume(lab: Notes) -> None:
    """Makes a stopped laboratory ready to be filled or read, in the place where it is now."""
    synapse.meet([lab])
    synapse.settle(lab, None)


def updates(lab: Notes) -> int:
    """How many changes of the tables wait."""
    arguments = lab["database"]["args"]
    if lab["engine"] == "postgres":
        connection = psycopg2.connect(**{name: arguments[name] for name in ("user", "dbname", "host")})
    else:
        connection = sqlite3.connect(f"file:{arguments['database']}?mode=ro", uri=True)
    with contextlib.closing(connection), contextlib.closing(connection.cursor()) as cursor:
        cursor.execute("SELECT count(*) FROM background_updates")
        return cursor.fetchone()[0]
