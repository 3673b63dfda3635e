"""Conduit, or Continuwuity, on a migrated database: do the same people see the same, and can they go on?"""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import requests

import bridge
import compare
import encryption
import secrecy
import servers
import snapshot
from api import Client, Refused
from notes import Notes
from synapse import free_port

START_SECONDS = 60
# Both servers take part in rooms of these versions only.
OLDEST_ROOM_VERSION = 3


def try_out(lab: Notes, binary: Path, database: Path, before: Path, after: Path) -> int:
    """Starts the server twice: compares, sends into each room, looks again; and once on a copy, where encryption goes on.
    Returns how much is unexplained."""
    server, begin = servers.of(binary), time.time()
    # Continuwuity forgets what waited for a device at its first /sync, which is that of the comparison.
    untouched = shutil.copytree(database, database.with_name(f"{database.name}-untouched"))
    # It sends at its start what Synapse had not sent, so the bridge must listen by then.
    with bridge.receiver(lab) as received, running(lab, binary, database, server.open_registration) as base_url:
        snapshot.write(lab, base_url, after)
        unexplained = compare.report(server, before, after)
        unexplained += secrecy.compare(lab, base_url, before.with_suffix(".refused.json"))
        sent = send(lab, base_url)
        mute = try_bridge(lab, base_url, sent["bridged"][1], received)
        queued = sum(event["origin_server_ts"] < begin * 1000 for event in received)
        if not queued:
            mute.append("the bridge was not sent what it had not received from Synapse")
        print(f"of these, {queued} events had waited for it on Synapse")
        print(f"sent a message in each of {len(sent)} rooms")
    unexplained += talk_on(lab, binary, untouched)
    with running(lab, binary, database) as base_url:
        ada = client(lab, base_url)
        lost = [nickname for nickname, (room, event) in sent.items()
                if not any(shown.endswith(f" {event}") for shown in snapshot.history(ada, room)["order"])]
        print(f"after the second start: {len(sent) - len(lost)} of {len(sent)} messages are there {lost or ''}")
    return unexplained + len(lost) + len(mute)


def try_bridge(lab: Notes, base_url: str, said: str, received: list[dict]) -> list[str]:
    """The bridge acts as its users, speaks, and hears what is said in its rooms. Returns what does not work."""
    room, failed = lab["rooms"]["bridged"]["room_id"], []
    for localpart in (bridge.BOT, bridge.GHOST):
        ghost = bridge.ghost(lab, base_url, localpart)
        try:
            if ghost.get("/account/whoami")["user_id"] != ghost.user_id:
                failed.append(f"{localpart} is somebody else")
            ghost.say(room, "Kraa, Conduit")
        except Refused as refused:
            failed.append(str(refused))
    try:
        bridge.ghost(lab, base_url, "ada").get("/account/whoami")
        failed.append("the bridge may act as ada")
    except Refused:
        pass
    try:
        Client(base_url).post("/register", username="bridge_new", password="secret", auth={"type": "m.login.dummy"})
        failed.append("anybody may take a name of the bridge's")
    except Refused as refused:
        if refused.body.get("errcode") != "M_EXCLUSIVE":
            failed.append(str(refused))
    deadline = time.monotonic() + START_SECONDS
    while not any(event.get("event_id") == said for event in received):
        if time.monotonic() > deadline:
            failed.append("the bridge did not hear ada")
            break
        time.sleep(0.2)
    print(f"the bridge {'works' if not failed else failed}, and was sent {len(received)} events")
    return failed


def talk_on(lab: Notes, binary: Path, database: Path) -> int:
    """Starts the server and lets encrypted conversations go on. Returns how much went wrong."""
    with running(lab, binary, database) as base_url:
        return encryption.go_on(lab, base_url, servers.of(binary).first_sync_has_device_lists)


@contextlib.contextmanager
def running(lab: Notes, binary: Path, database: Path, more: Sequence[str] = (),
            federation: bool = False, environment: dict | None = None) -> Iterator[str]:
    """A server that is stopped at the end, with further lines of configuration; yields its address."""
    process, base_url = start(lab, binary, database, more, federation, environment)
    try:
        yield base_url
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def start(lab: Notes, binary: Path, database: Path, more: Sequence[str] = (),
          federation: bool = False, environment: dict | None = None) -> tuple[subprocess.Popen, str]:
    """The process and its address, as soon as it answers."""
    server, port = servers.of(binary), free_port()
    config = database.with_suffix(".toml")
    config.write_text("\n".join([
        "[global]", f'server_name = "{lab["server_name"]}"', f'database_path = "{database}"',
        f"port = {port}", 'address = "127.0.0.1"', f"allow_federation = {str(federation).lower()}",
        *server.settings(database), *more, "",
    ]))
    with open(database.with_suffix(".log"), "a") as log:
        process = subprocess.Popen([binary], env={server.variable: str(config)} | (environment or {}), stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL)
    base_url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_SECONDS
    while not answers(base_url):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise SystemExit(f"{server.name} did not start; see {database.with_suffix('.log')}")
        time.sleep(0.2)
    return process, base_url


def answers(base_url: str) -> bool:
    try:
        return requests.get(base_url + "/_matrix/client/versions", timeout=5).ok
    except requests.RequestException:
        return False


def client(lab: Notes, base_url: str) -> Client:
    return Client(base_url, lab["users"]["ada"]["devices"][0]["access_token"], lab["users"]["ada"]["user_id"])


def send(lab: Notes, base_url: str) -> dict[str, tuple[str, str]]:
    """Ada speaks in each of her rooms; returns the events by the rooms' nicknames."""
    ada, sent = client(lab, base_url), {}
    joined = ada.get("/joined_rooms")["joined_rooms"]
    for nickname, room in lab["rooms"].items():
        if room["room_id"] in joined and int(room["version"]) >= OLDEST_ROOM_VERSION:
            sent[nickname] = room["room_id"], ada.say(room["room_id"], "Hello from Conduit")
    return sent
