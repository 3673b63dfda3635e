"""Another server, with Olga on it, and the rooms that the family and she share. It is left running and stops with the lab."""

import json
import secrets
import time

import fork
import people
import synapse
from api import Client, Refused, q
from notes import Notes
from people import Family

SERVER_NAME = "elsewhere.test"
VERSION = "10"
ARRIVAL_SECONDS = 30


def notes(lab: Notes) -> Notes:
    other = Notes(lab.dir / "elsewhere")
    other.setdefault("server_name", SERVER_NAME)
    return other


def tell(family: Family) -> None:
    """Rooms of another server: lived in, forked with several ends, left, refused, asked for; and a guest in a room of ours."""
    other = notes(family.lab)
    olga = register(other)
    ada, ben, dan = (family[name] for name in ("ada", "ben", "dan"))

    far = create(family, olga, "far", name="Far away", topic="Before you came")

    def follow(event: str, text: str) -> str:
        return fork.say(family.lab, other, ada, olga, far, event, text)

    for text in ("Nobody of you was here", "Nor now"):
        before = olga.say(far, text)
    olga.redact(far, before)
    for guest in (ada, ben):
        olga.invite(far, guest.user_id)
        wait_for_invite(guest, far)
        guest.join(far)
    hello = ben.say(far, "Hello, Olga")
    arrives(olga, far, hello)
    arrives(olga, far, ada.say(far, "At once, Ada"))
    arrives(ada, far, follow(hello, "At once, Olga"))
    # It follows both; Olga's server asks ours for the one that it does not know.
    arrives(olga, far, ada.say(far, "Both at once?"))
    read = olga.say(far, "Have you read this?")
    arrives(ada, far, read)
    arrives(olga, far, ada.say(far, "Yes"))
    for text in ("You too?", "All of you?"):
        arrives(ada, far, follow(read, text))
    olga.post(f"/rooms/{q(far)}/receipt/m.read/{q(read)}")

    for nickname, guest, what in [("far-left", dan, "leave"), ("far-refused", family["finn"], "refuse"),
                                  ("far-invited", family["cleo"], "wait")]:
        room = create(family, olga, nickname, name=nickname)
        olga.invite(room, guest.user_id)
        wait_for_invite(guest, room)
        if what == "leave":
            guest.join(room)
            guest.say(room, "Only passing by")
        if what != "wait":
            guest.leave(room)
    door = create(family, olga, "far-knocked", name="Knock", initial_state=[
        {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}])
    family["hana"].post(f"/knock/{q(door)}?server_name={SERVER_NAME}", reason="From far")

    street = family.lab["rooms"]["public"]["room_id"]
    olga.post(f"/join/{q(street)}?server_name={family.lab['server_name']}")
    seen = olga.say(street, "I am from elsewhere")
    arrives(ada, street, seen)
    olga.post(f"/rooms/{q(street)}/receipt/m.read/{q(seen)}")
    wait_for_receipts(ada, olga.user_id, {far, street})


def register(other: Notes) -> Client:
    password = secrets.token_urlsafe(9)
    nobody = Client(other["base_url"])
    people.register_one(other, nobody, "olga", password, "Olga 🌍")
    login = nobody.post("/login", type="m.login.password", password=password,
                        identifier={"type": "m.id.user", "user": "olga"})
    return Client(other["base_url"], login["access_token"], login["user_id"])


def create(family: Family, olga: Client, nickname: str, **body) -> str:
    made = olga.post("/createRoom", room_version=VERSION, preset="private_chat", **body)
    return family.room(nickname, made["room_id"], VERSION)


def arrives(client: Client, room: str, event: str) -> None:
    until(lambda: client.get(f"/rooms/{q(room)}/event/{q(event)}"))


def wait_for_invite(client: Client, room: str) -> None:
    until(lambda: sync(client)["invite"][room])


def sync(client: Client) -> dict:
    """Rooms as they are now: Synapse gives the same answer to the same question for two minutes."""
    return client.get("/sync", timeout=0, filter=json.dumps({"room": {"timeline": {"limit": 1}}, "now": time.time()}))["rooms"]


def wait_for_receipts(client: Client, user: str, rooms: set[str]) -> None:
    def has(view: dict) -> bool:
        return any(user in users for event in view["ephemeral"]["events"] if event["type"] == "m.receipt"
                   for kinds in event["content"].values() for users in kinds.values())

    def look() -> None:
        joined = sync(client)["join"]
        if not all(has(joined[room]) for room in rooms):
            raise KeyError("receipts")

    until(look)


def until(attempt) -> None:
    """Tries until it is no error: events travel in their own time."""
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while True:
        try:
            attempt()
            return
        except (Refused, KeyError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def start(lab: Notes) -> None:
    """Starts both servers, each knowing where the other is."""
    other = notes(lab)
    synapse.meet([lab, other])
    synapse.start(other, None)


def stop(lab: Notes) -> None:
    synapse.stop(notes(lab))
