"""Measurements on one generated server."""

import json
import os
import time
from pathlib import Path

from programs import Programs, best, cost

USERS, ROOMS = 1200, 500
# What takes longer is measured once.
SEVERAL_BELOW = 300_000
# One core, and two.
CORES = ("0", "0,1")
# The columns that the dump needs; tables that are empty here are left out.
COLUMNS = {
    "events": "event_id, stream_ordering, topological_ordering, room_id, outlier, type, sender, received_ts",
    "event_json": "event_id, internal_metadata, format_version, json",
    "event_to_state_groups": "event_id, state_group",
    "state_events": "event_id, room_id, type, state_key",
    "state_groups_state": "state_group, type, state_key, event_id",
    "state_group_edges": "state_group, prev_state_group",
    "current_state_events": "event_id, room_id, type, state_key",
    "event_forward_extremities": "event_id, room_id",
    "local_current_membership": "room_id, user_id, event_id, membership",
    "room_memberships": "event_id, forgotten",
    "redactions": "event_id, redacts",
    "rooms": "room_id, room_version, is_public",
    "room_aliases": "room_alias, room_id, creator",
    "receipts_linearized": "room_id, receipt_type, user_id, event_id, thread_id, data",
    "event_push_summary": "user_id, room_id, notif_count, stream_ordering, last_receipt_stream_ordering, thread_id",
    "users": "name, password_hash, creation_ts, admin, is_guest, deactivated",
    "profiles": "user_id, displayname, avatar_url",
    "devices": "user_id, device_id, display_name, last_seen, ip",
    "access_tokens": "id, user_id, device_id, token, valid_until_ms, last_validated",
    "e2e_device_keys_json": "user_id, device_id, key_json",
    "e2e_one_time_keys_json": "user_id, device_id, algorithm, key_id, key_json",
    "account_data": "user_id, account_data_type, content",
    "room_account_data": "user_id, room_id, account_data_type, content",
    "room_tags": "user_id, room_id, tag, content",
    "user_filters": "user_id, filter_id, filter_json",
    "local_media_repository": "media_id, media_type, media_length, created_ts, upload_name, user_id, sha256",
}


# The same rows as the dump has to have them: the events of each room in order, each with what belongs to it.
EVENTS_BY_ROOM = """SELECT e.event_id, e.stream_ordering, e.topological_ordering, e.room_id, e.outlier, e.type, e.sender,
e.received_ts, ej.internal_metadata, ej.format_version, ej.json, sg.state_group, s.state_key, r.reason FROM events e
JOIN event_json ej ON ej.event_id = e.event_id LEFT JOIN event_to_state_groups sg ON sg.event_id = e.event_id
LEFT JOIN state_events s ON s.event_id = e.event_id LEFT JOIN rejections r ON r.event_id = e.event_id
ORDER BY e.room_id, e.stream_ordering""".replace("\n", " ")
TABLES = {table: f"SELECT {columns} FROM {table}" for table, columns in COLUMNS.items()}
JOINED = ("events", "event_json", "event_to_state_groups", "state_events")
BY_ROOM = {name: query for name, query in TABLES.items() if name not in JOINED} | {"events": EVENTS_BY_ROOM}


def measure(programs: Programs, engine: str, events: int, imported: bool) -> dict:
    """Dump and client; and if `imported`, what comes after the dump."""
    lab, times = programs.scratch / "lab", 3 if events < SEVERAL_BELOW else 1
    found = {"engine": engine, "events": events}
    try:
        found["generate"] = generate(programs, lab, engine, events, 100)
        dump, database = programs.scratch / "dump", programs.scratch / "database"
        found["client"] = best(times, lambda: client(programs, lab, engine, TABLES))
        found["client_bytes"] = sum(file.stat().st_size for file in programs.scratch.glob("*.rows"))
        found["client_by_room"] = best(times, lambda: client(programs, lab, engine, BY_ROOM))

        def dumped(**where: str) -> dict:
            return fresh(dump) or programs.run("importer", "dump", "--synapse-config", lab / "homeserver.yaml",
                                               "--dump", dump, "--history", "full", **where)

        def made(**where: str) -> dict:
            return fresh(database) or step("import", database, programs.run(
                "importer", "import", "--dump", dump, "--database", database, **where))

        def verified(**where: str) -> dict:
            return programs.run("importer", "verify", "--dump", dump, "--database", database, **where)

        def on_cores(times: int, run) -> list[dict]:
            return [best(times, lambda: run(cores=cores)) for cores in CORES]

        found["dump"] = best(times, dumped)
        if imported:
            found["cores"] = {"dump": on_cores(times, dumped)}
        found["dump_bytes"] = size(dump)
        programs.lab("stop", lab)
        if imported:
            found["import"] = best(times, made)
            found["cores"]["import"] = on_cores(times, made)
            found["database_bytes"] = size(database)
            found["verify"] = best(times, verified)
            found["cores"]["verify"] = on_cores(times, verified)
            reference = programs.scratch / "reference"
            runs = [fresh(reference) or programs.tell("examples/bulk_load", database, reference) for _ in range(times)]
            found["reference"] = min((json.loads(run["said"]) for run in runs), key=lambda run: run["bulk"])
    finally:
        clean(programs, lab)
    return found


def migration(programs: Programs) -> dict:
    """A whole `migrate` of the server that a peer tells of."""
    lab, found = programs.scratch / "lab", {}
    try:
        found["generate"] = generate(programs, lab, "sqlite", 51_000, 2700)
        database = programs.scratch / "database"

        def run(command: str) -> dict:
            return programs.run("importer", command, "--synapse-config", lab / "homeserver.yaml",
                                "--database", database, "--history", "full")

        def migrate(beforehand: bool = False) -> dict:
            for suffix in ("", ".dump", ".report", ".prepared-media"):
                fresh(database.with_name(f"{database.name}{suffix}"))
            if beforehand:
                run("media")
            return run("migrate")

        found["migrate"] = best(3, migrate)
        found["media_bytes"] = size(lab / "media")
        found["steps"] = steps(database)
        found["prepared"] = best(3, lambda: migrate(beforehand=True))
    finally:
        clean(programs, lab)
    return found


def generate(programs: Programs, lab: Path, engine: str, events: int, media: int) -> dict:
    programs.lab("empty", lab, "--engine", engine)
    return programs.run("examples/generate", lab, "--users", USERS, "--rooms", ROOMS, "--events", events, "--media", media)


def step(name: str, database: Path, spent: dict) -> dict:
    """What one step of a command took by its report; processor time and memory are the whole command's."""
    return spent | {"seconds": steps(database)[name]}


def steps(database: Path) -> dict[str, float]:
    """Seconds of each step of the command that made a database."""
    report = json.loads(database.with_name(f"{database.name}.report").joinpath("report.json").read_text())
    return {found["step"]: found["seconds"] for found in report["steps"]}


def client(programs: Programs, lab: Path, engine: str, queries: dict[str, str]) -> dict:
    """The database's own client writes the rows of queries to files."""
    notes = json.loads((lab / "lab.json").read_text())
    arguments = notes["database"]["args"]
    files = {name: programs.scratch / f"{name}.rows" for name in queries}
    script = programs.scratch / "client.sql"
    if engine == "postgres":
        script.write_text("".join(f"\\copy ({query}) TO '{files[name]}'\n" for name, query in queries.items()))
        command = ["psql", "-q", "-h", arguments["host"], "-U", arguments["user"], "-f", script, arguments["dbname"]]
    else:
        script.write_text("".join(f".output {files[name]}\n{query};\n" for name, query in queries.items()))
        command = ["sqlite3", "-readonly", arguments["database"], f".read {script}"]
    return cost(command, programs.scratch / "client.log")


def fresh(directory: Path) -> None:
    """Puts away what the run before has made. Its files are emptied and stay: for a while, ext4 passes over inodes that were
    freed, one by one, whenever it looks for a new one."""
    if directory.exists():
        for file in directory.rglob("*"):
            if file.is_file() and file.stat().st_nlink == 1:
                os.truncate(file, 0)
        directory.rename(directory.with_name(f"old-{time.monotonic_ns()}"))


def size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def clean(programs: Programs, lab: Path) -> None:
    if (lab / "lab.json").exists():
        programs.lab("stop", lab)
    for path in list(programs.scratch.iterdir()):
        if path.is_file():
            os.remove(path)
        elif not path.name.startswith("old-"):
            fresh(path)
