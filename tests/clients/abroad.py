"""Another server, a Synapse, with a client on it: what waited for it on Synapse comes from Conduit."""

import json
import sqlite3
from pathlib import Path

import elsewhere
import people
import story
import synapse
from address import Address
from api import Client
from judge import Judge
from move import Move
from program import On, Program, javascript
from world import Tunnels, certificate

PASSWORD = "far away"


def go_on(move: Move, judge: Judge, installed: Path) -> None:
    """Nora is here, Paul there; both have matrix-js-sdk and stay open."""
    other = elsewhere.notes(move.lab)
    with (Address(other.dir, move.importer) as address,
          Program(javascript(installed, move.address.base_url), move.lab.dir / "nora.log") as here,
          Program(javascript(installed, address.base_url), move.lab.dir / "paul.log") as there):
        address.leads_to(other["base_url"])
        nora, paul = On(here, "nora"), On(there, "paul")
        room = meet(move, other, nora, paul)
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


def said(judge: Judge, room: str, speaker: On, listener: On, text: str) -> None:
    heard = listener.hears(room=room, event=speaker.say(room=room, text=text))
    judge.same(f"what {speaker.name} says ({text!r}) is read by {listener.name}", text, heard)


def meet(move: Move, other, nora: On, paul: On) -> str:
    """An encrypted room of both."""
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
    return room


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
    move.swap(("[global.proxy]", f'global = {{ url = "{tunnels.url}" }}'), {"SSL_CERT_FILE": str(files[there][0])})
