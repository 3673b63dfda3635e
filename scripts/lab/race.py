"""A join overtakes what led to it: what the other server tells of the room is held back, while its invites come through.

Synapse has each invite outside of the room then, and lets the user join by it. The state before the join is that of the room,
which knows nothing of the invite."""

import contextlib
import json
import secrets
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import elsewhere
import people
import requests
import synapse
import urllib3
from api import Client, q
from notes import Notes
from people import Family
from predecessor import expect_refusal

VERSION = "10"
SEND = "/_matrix/federation/v1/send/"
# The other server waits so long for an answer, at least.
HELD_SECONDS = 50
# More than a dump of the newest events holds.
AFTERWARDS = 60


class Gate(ThreadingHTTPServer):
    """Stands before our server's port for other servers. Events wait while it is shut."""

    daemon_threads = True

    def __init__(self, lab: Notes):
        super().__init__(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(lab.dir / "tls.crt", lab.dir / "tls.key")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.behind = f"https://127.0.0.1:{lab['federation_port']}"
        self.open, self.waiting, self.arrived = threading.Event(), threading.Event(), threading.Event()
        self.open.set()

    @contextlib.contextmanager
    def shut(self) -> Iterator[None]:
        """What is sent meanwhile arrives at the end; something must have been sent."""
        self.waiting.clear()
        self.arrived.clear()
        self.open.clear()
        try:
            yield
            assert self.waiting.wait(elsewhere.ARRIVAL_SECONDS), "nothing was held back"
        finally:
            self.open.set()
        assert self.arrived.wait(elsewhere.ARRIVAL_SECONDS), "what was held back is lost"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def pass_on(self) -> None:
        gate = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        held = self.path.startswith(SEND) and json.loads(body).get("pdus") and not gate.open.is_set()
        if held:
            gate.waiting.set()
            gate.open.wait(HELD_SECONDS)
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type", "Host") if name in self.headers}
        # The certificate is one that nobody checks.
        answer = requests.request(self.command, gate.behind + self.path, data=body, headers=headers, verify=False, timeout=HELD_SECONDS)
        if held and answer.ok:
            gate.arrived.set()
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_PUT = do_POST = pass_on

    def log_message(self, *_args) -> None:
        pass


@contextlib.contextmanager
def behind_a_gate(lab: Notes) -> Iterator[Gate]:
    """The other server is started anew, so that it has no connection that goes past the gate."""
    gate = Gate(lab)
    threading.Thread(target=gate.serve_forever, daemon=True).start()
    file = Path(lab["federation"])
    ports = json.loads(file.read_text())
    elsewhere.stop(lab)
    file.write_text(json.dumps(ports | {lab["server_name"]: gate.server_address[1]}))
    synapse.start(elsewhere.notes(lab), None)
    try:
        yield gate
    finally:
        file.write_text(json.dumps(ports))
        gate.shutdown()


def tell(lab: Notes) -> None:
    """One room for each way in which a join can overtake what allows it; `lab["races"]` has them."""
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    with behind_a_gate(lab) as gate:
        family, otto = Family(lab), register(elsewhere.notes(lab))
        lab["races"] = {}
        for race in (one_invite, two_invites, again_after_a_kick, restricted, knocked):
            room = create(family, otto, race.__name__)
            race(gate, family, otto, room)
            afterwards(family, otto, room)
            lab["races"][race.__name__] = room
            lab.save()


def register(other: Notes) -> Client:
    """Otto, who is on the other server."""
    nobody, password = Client(other["base_url"]), secrets.token_urlsafe(9)
    people.register_one(other, nobody, "otto", password, "Otto")
    login = nobody.post("/login", type="m.login.password", password=password,
                        identifier={"type": "m.id.user", "user": "otto"})
    return Client(other["base_url"], login["access_token"], login["user_id"])


def create(family: Family, otto: Client, name: str) -> str:
    """A room of Otto's, with Ada in it."""
    room = elsewhere.create(family, otto, f"race-{name}", name=name)
    otto.say(room, "Nobody of you was here")
    otto.invite(room, family.id("ada"))
    come(family["ada"], room)
    elsewhere.arrives(otto, room, family["ada"].say(room, "I am here"))
    elsewhere.arrives(family["ada"], room, otto.say(room, "Who else?"))
    return room


def come(guest: Client, room: str) -> None:
    elsewhere.wait_for_invite(guest, room)
    guest.join(room)


def afterwards(family: Family, otto: Client, room: str) -> None:
    """Everything has arrived on both sides, and was said long ago."""
    for speaker, other in ((family["ada"], otto), (otto, family["ada"])):
        elsewhere.arrives(other, room, speaker.say(room, "All here?"))
    for number in range(AFTERWARDS):
        last = family["ada"].say(room, f"Afterwards, {number}")
    elsewhere.arrives(otto, room, last)


def one_invite(gate: Gate, family: Family, otto: Client, room: str) -> None:
    with gate.shut():
        otto.invite(room, family.id("ben"))
        come(family["ben"], room)
        family["ben"].say(room, "Too early")


def two_invites(gate: Gate, family: Family, otto: Client, room: str) -> None:
    with gate.shut():
        for guest in ("ben", "cleo"):
            otto.invite(room, family.id(guest))
        for guest in ("cleo", "ben"):
            come(family[guest], room)
            family[guest].say(room, "Too early")


def again_after_a_kick(gate: Gate, family: Family, otto: Client, room: str) -> None:
    ben = family["ben"]
    with gate.shut():
        otto.invite(room, ben.user_id)
        come(ben, room)
    elsewhere.arrives(otto, room, ben.say(room, "I will be thrown out"))
    otto.post(f"/rooms/{q(room)}/kick", user_id=ben.user_id, reason="by mistake")
    elsewhere.until(lambda: elsewhere.sync(ben)["leave"][room])
    refused_at_first(gate, otto, ben, room)


def restricted(gate: Gate, family: Family, otto: Client, room: str) -> None:
    """Our server can't let anybody in itself, so it asks the other one, which answers with a state that we don't know of."""
    space = elsewhere.create(family, otto, "race-space", creation_content={"type": "m.space"})
    otto.invite(space, family.id("cleo"))
    come(family["cleo"], space)
    levels = otto.get(f"/rooms/{q(room)}/state/m.room.power_levels")
    otto.state(room, "m.room.power_levels", **levels | {"invite": 50})
    elsewhere.arrives(family["ada"], room, otto.state(
        room, "m.room.join_rules", join_rule="restricted", allow=[{"type": "m.room_membership", "room_id": space}]))
    with gate.shut():
        otto.state(room, "m.room.topic", topic="Cleo knows this before Ada does")
        before = otto.say(room, "The door is open")
        family["cleo"].post(f"/join/{q(room)}?server_name={elsewhere.SERVER_NAME}")
        expect_refusal(404, lambda: family["ada"].get(f"/rooms/{q(room)}/event/{q(before)}"))
        family["cleo"].say(room, "Too early")


def knocked(gate: Gate, family: Family, otto: Client, room: str) -> None:
    dan = family["dan"]
    elsewhere.arrives(family["ada"], room, otto.state(room, "m.room.join_rules", join_rule="knock"))
    dan.post(f"/knock/{q(room)}?server_name={elsewhere.SERVER_NAME}", reason="Let me in")
    elsewhere.until(lambda: otto.get(f"/rooms/{q(room)}/state/m.room.member/{q(dan.user_id)}"))
    refused_at_first(gate, otto, dan, room)


def refused_at_first(gate: Gate, otto: Client, guest: Client, room: str) -> None:
    """Where the room's state has another membership, Synapse takes that and the invite for two on which the join rests, and
    refuses it."""
    with gate.shut():
        otto.invite(room, guest.user_id)
        elsewhere.wait_for_invite(guest, room)
        expect_refusal(403, lambda: guest.join(room))
    elsewhere.until(lambda: guest.join(room))
    guest.say(room, "In the end")
