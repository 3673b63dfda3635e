"""Another server, a Synapse, with a client on it: what waited for it on Synapse comes from Conduit."""

import contextlib
import json
import sqlite3
from pathlib import Path

import elsewhere
import fork
import people
import servers
import story
import synapse
from address import Address
from api import Client, q
from judge import Judge
from move import Move
from program import On, Program, javascript
from world import Tunnels, certificate

PASSWORD = "far away"
# Messages of before a join: more than come with it.
FORMER = 30


def go_on(move: Move, judge: Judge, installed: Path) -> None:
    """Nora is here, Paul there; both have matrix-js-sdk and stay open."""
    other = elsewhere.notes(move.lab)
    with (Address(other.dir, move.importer) as address,
          Program(javascript(installed, move.address.base_url), move.lab.dir / "nora.log") as here,
          Program(javascript(installed, address.base_url), move.lab.dir / "paul.log") as there):
        address.leads_to(other["base_url"])
        nora, paul = On(here, "nora"), On(there, "paul")
        room, sessions = meet(move, other, nora, paul)
        for speaker, listener, text in ((nora, paul, "Hello, paul"), (paul, nora, "Hello, nora")):
            said(judge, room, speaker, listener, text)
        address.leads_nowhere()
        synapse.stop(other)
        nora.newKey(room=room)
        text = "Your server was away 🐡"
        waited = nora.say(room=room, text=text)
        queued = waiting(move.lab.dir / "homeserver.db", other["server_name"])
        judge.so("on Synapse, a room key waits for the other server", queued > 0)
        swap(move, other, address)
        judge.same("paul reads what waited, by the key that waited", text, paul.hears(room=room, event=waited))
        nora.online()
        for speaker, listener in ((nora, paul), (paul, nora)):
            for text in ("From Conduit 🦀", "Under a new key 🔑"):
                said(judge, room, speaker, listener, text)
                speaker.newKey(room=room)
        nora, paul = (Client(base_url, session["access_token"], session["user_id"])
                      for base_url, session in zip((move.base_url, other["base_url"]), sessions, strict=True))
        asked_for(move, judge, other, nora, room, waited)
        history(move, judge, nora, paul)


def said(judge: Judge, room: str, speaker: On, listener: On, text: str) -> None:
    heard = listener.hears(room=room, event=speaker.say(room=room, text=text))
    judge.same(f"what {speaker.name} says ({text!r}) is read by {listener.name}", text, heard)


def asked_for(move: Move, judge: Judge, other, nora: Client, room: str, event: str) -> None:
    """What the other server gets when it asks for an event and those before it."""
    what = "another server's `/backfill` is given the event that it asks for"
    if move.rule and move.server is servers.CONDUIT:
        print(f"explained, 1: {what}: a stock Conduit gives what comes before it (patch 0012)")
        return
    uri = f"/_matrix/federation/v1/backfill/{q(room)}?v={q(event)}&limit=2"
    given = fork.ask(move.base_url, move.lab["server_name"], other["server_name"], fork.signing_key(other), "GET", uri)["pdus"]
    asked = nora.get(f"/rooms/{q(room)}/event/{q(event)}")["content"]
    judge.so(what, asked in [pdu["content"] for pdu in given], given)


def history(move: Move, judge: Judge, nora: Client, paul: Client) -> None:
    """Nora joins rooms of Paul's after the move, and scrolls to what was said before."""
    for version in ("10", "12"):
        room = paul.post("/createRoom", preset="public_chat", room_version=version, invite=[nora.user_id])["room_id"]
        told = [f"Long ago, {number}" for number in range(FORMER)]
        for text in told:
            paul.say(room, text)
        elsewhere.wait_for_invite(nora, room)
        nora.post(f"/join/{q(room)}?server_name={elsewhere.SERVER_NAME}")
        what = f"who joins a room of version {version} of another server reads its {FORMER} messages of before"
        if version == "12" and move.rule and move.server is servers.CONDUIT:
            print(f"explained, 1: {what}: a stock Conduit asks no creators for them (patch 0011)")
            continue
        judge.same(what, told, patiently(lambda: texts(nora, room), FORMER))


def patiently(look, number: int) -> list:
    """What there is, when it is so much or after a while."""
    found = []

    def attempt() -> None:
        found[:] = look()
        if len(found) < number:
            raise KeyError(number)

    with contextlib.suppress(KeyError):
        elsewhere.until(attempt)
    return found


def texts(client: Client, room: str) -> list[str]:
    """All messages that somebody gets by scrolling, oldest first."""
    found, token = [], {}
    while True:
        page = client.get(f"/rooms/{q(room)}/messages", dir="b", limit=100, **token)
        found += [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]
        if not page.get("end") or not page["chunk"]:
            return found[::-1]
        token = {"from": page["end"]}


def meet(move: Move, other, nora: On, paul: On) -> tuple[str, tuple]:
    """An encrypted room of both, and who they are."""
    family = move.family
    people.register_one(other, Client(other["base_url"]), "paul", PASSWORD, "Paul")
    here = nora.login(user="nora", password=story.newcomer(family, "nora"), crypto=True)
    there = paul.login(user="paul", password=PASSWORD, crypto=True)
    host = Client(move.base_url, here["access_token"], here["user_id"])
    guest = Client(other["base_url"], there["access_token"], there["user_id"])
    room = story.secret_room(family, host, guest.user_id, nickname="abroad", invited=[])
    elsewhere.wait_for_invite(guest, room)
    guest.join(room)
    for client in (nora, paul):
        client.start()
    nora.knows(user=there["user_id"], id=there["device_id"])
    paul.knows(user=here["user_id"], id=here["device_id"])
    return room, (here, there)


def waiting(database: Path, server: str) -> int:
    """Messages for devices that Synapse has not delivered to a server."""
    rows = sqlite3.connect(f"file:{database}?mode=ro", uri=True).execute(
        "SELECT messages_json FROM device_federation_outbox WHERE destination = ?", [server])
    return sum(json.loads(text).get("type") == "m.room.encrypted" for (text,) in rows)


def swap(move: Move, other, address: Address) -> None:
    """Conduit finds the other server by a tunnel, and is found behind nginx, as Synapse was by its own port."""
    name, there = move.lab["server_name"], other["server_name"]
    ports = {server: synapse.free_port() for server in (name, there)}
    files = {server: certificate(move.lab.dir, server) for server in ports}
    Path(move.lab["federation"]).write_text(json.dumps({name: ports[name], there: other["federation_port"]}))
    synapse.start(other, None)
    address.tls = [(ports[there], *files[there], f"https://127.0.0.1:{other['federation_port']}", f"{there}:8448")]
    address.leads_to(other["base_url"])
    tunnels = move.servers.enter_context(Tunnels({there: ports[there]}))
    move.address.tls = [(ports[name], *files[name], None, f"{name}:8448")]
    # Continuwuity refuses to talk to this machine, and asks matrix.org for keys.
    more = ("ip_range_denylist = []", "trusted_servers = []") if move.server is servers.CONTINUWUITY else ()
    move.swap((*more, "[global.proxy]", f'global = {{ url = "{tunnels.url}" }}'), {"SSL_CERT_FILE": str(files[there][0])})
