"""A Synapse next to a Continuwuity, with Olga on it: one is found by its address, the other behind TLS, and nobody needs DNS."""

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Iterator

import requests

import elsewhere
import fork
import people
import synapse
from api import Client, q
from notes import Notes
from people import Family

SERVER_NAME = "127.0.0.1:8448"
# What lets Continuwuity talk to it, and ask nobody else.
SETTINGS = ["allow_invalid_tls_certificates_yes_i_know_what_the_fuck_i_am_doing_with_this_and_i_know_this_is_insecure = true",
            "ip_range_denylist = []", "trusted_servers = []"]


def notes(lab: Notes) -> Notes:
    return Notes(lab.dir / "neighbour")


def register(lab: Notes, name: str) -> Client:
    """Somebody on the other server."""
    other, password = notes(lab), f"pw-{name}"
    nobody = Client(other["base_url"])
    people.register_one(other, nobody, name, password, name.title())
    login = nobody.post("/login", type="m.login.password", password=password, identifier={"type": "m.id.user", "user": name})
    return Client(other["base_url"], login["access_token"], login["user_id"])


@contextlib.contextmanager
def running(lab: Notes) -> Iterator[Client]:
    """The two servers know each other; yields Olga."""
    other = notes(lab)
    other.dir.mkdir(parents=True, exist_ok=True)
    file = other.dir / "federation.json"
    other |= {"server_name": SERVER_NAME, "federation_port": 8448, "federation": str(file)}
    with tls(lab) as port:
        file.write_text(json.dumps({lab["server_name"]: port}))
        synapse.start(other, None)
        try:
            yield register(lab, "olga")
        finally:
            synapse.stop(other)


@contextlib.contextmanager
def tls(lab: Notes) -> Iterator[int]:
    """Takes connections with TLS for the laboratory's server; yields the port."""
    synapse.write_certificate(lab)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(lab.dir / "tls.crt", lab.dir / "tls.key")
    inside = int(lab["base_url"].rpartition(":")[2])

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                target.write(data)
                await target.drain()
        target.close()

    async def connect(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("127.0.0.1", inside)
        await asyncio.gather(pump(source, requests), pump(answers, target))

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(connect, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def tell(family: Family, olga: Client) -> None:
    """Rooms of hers that are lived in, left, refused and waited for, and one of ours in which she is. None that is knocked at:
    Continuwuity stores its create event without its id, and panics (service/rooms/state_accessor/mod.rs:225)."""
    ada, ben, dan, finn, cleo = (family[name] for name in ("ada", "ben", "dan", "finn", "cleo"))
    for version in ("10", "12"):
        far = olga.post("/createRoom", room_version=version, preset="private_chat", name=f"Far, {version}")["room_id"]
        family.room(f"far {version}", far, version)
        olga.redact(far, olga.say(far, "Nobody of you was here"))
        for guest in (ada, ben, dan):
            olga.invite(far, guest.user_id)
            elsewhere.wait_for_invite(guest, far)
            guest.join(far)
        hello = ben.say(far, "Hello, Olga")
        elsewhere.arrives(olga, far, hello)
        olga.post(f"/rooms/{q(far)}/receipt/m.read/{q(hello)}")
        elsewhere.arrives(ada, far, olga.say(far, "Hello, Ben", **{"m.relates_to": {"m.in_reply_to": {"event_id": hello}}}))
        olga.state(far, "m.room.topic", topic="Now with you")
        dan.leave(far)
    for nickname, guest in (("far refused", finn), ("far waiting", cleo)):
        room = elsewhere.create(family, olga, nickname, name=nickname)
        olga.invite(room, guest.user_id)
        elsewhere.wait_for_invite(guest, room)
    finn.leave(family.lab["rooms"]["far refused"]["room_id"])
    ours = family.lab["rooms"]["rejoined"]["room_id"]
    olga.post(f"/join/{q(ours)}?server_name={family.lab['server_name']}")
    elsewhere.arrives(ada, ours, olga.say(ours, "I am from next door"))
    elsewhere.arrives(olga, ours, ada.say(ours, "Welcome"))
    otto = register(family.lab, "otto")
    not_accepted(family, olga, otto)


def not_accepted(family: Family, olga: Client, otto: Client) -> None:
    """Otto speaks as if he had not been kicked, and as if he had never come in."""
    ada, room = family["ada"], family.lab["rooms"]["far 10"]["room_id"]
    olga.invite(room, otto.user_id)
    otto.join(room)
    hello = otto.say(room, "Hello, I am Otto")
    elsewhere.arrives(ada, room, hello)
    softly, hard = (fork.message(otto, room, hello, 100, text) for text in ("I am still here", "I was never here"))
    hard["auth_events"].pop()
    olga.post(f"/rooms/{q(room)}/kick", user_id=otto.user_id)
    elsewhere.arrives(ada, room, olga.say(room, "Otto has gone"))
    for event in (softly, hard):
        hand(family.lab, event)


def hand(lab: Notes, event: dict) -> None:
    """Hands it to Continuwuity as soon as that has nothing else to do for the other server."""
    def attempt() -> None:
        try:
            fork.hand(lab, notes(lab), event)
        except requests.HTTPError as error:
            if error.response.status_code != 429:
                raise
            raise KeyError(event["content"]["body"]) from error

    elsewhere.until(attempt)
