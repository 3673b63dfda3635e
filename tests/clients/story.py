"""What the family does while real clients are looking: two more people, a room to walk through, talk that clients miss."""

import secrets

import crypto
import people
import rooms
from api import Client
from people import Family

TALK = 12
WALK = 48
# Rooms in which Ben talks to Ada: of old and new versions, encrypted, of another server, with a history that not everybody sees.
LOUD = ("walk", "private", "public", "long", "dm", "far", "encrypted", "v3", "v6", "v10", "v11", "v12")


def newcomer(family: Family, name: str) -> str:
    """Somebody without a device; returns the password."""
    password = secrets.token_urlsafe(9)
    people.register_one(family.lab, Client(family.lab["base_url"]), name, password, name.title())
    return password


def walk(family: Family) -> str:
    """A long room with edits, reactions, replies, redactions and threads on all pages of it."""
    ada, ben = family["ada"], family["ben"]
    room = rooms.create(family, "ada", "walk", name="A long walk")
    rooms.invite_and_join(family, room, "ada", "ben", "hana")
    root = None
    for number in range(WALK):
        said = ben.say(room, f"Step {number}")
        relation = {"event_id": said}
        match number % 6:
            case 0:
                ada.send(room, "m.reaction", **{"m.relates_to": relation | {"rel_type": "m.annotation", "key": "👣"}})
            case 1:
                ben.say(room, f"* Stride {number}", **{"m.new_content": {"msgtype": "m.text", "body": f"Stride {number}"},
                                                       "m.relates_to": relation | {"rel_type": "m.replace"}})
            case 2:
                root = said
                ada.say(room, "A side path", **{"m.relates_to": relation | {"rel_type": "m.thread"}})
            case 3:
                ada.say(room, "And further", **{"m.relates_to": {"event_id": root, "rel_type": "m.thread"}})
            case 4:
                ada.redact(room, said)
            case 5:
                ada.say(room, "Wait", **{"m.relates_to": {"m.in_reply_to": relation}})
    return room


def talk(family: Family, round_name: str) -> None:
    """Ben talks in some rooms, more than fits into one answer to a sync, and names Ada at the end."""
    ada, ben = family["ada"], family["ben"]
    for nickname in LOUD:
        for number in range(TALK):
            mention = {"m.mentions": {"user_ids": [ada.user_id]}} if number == TALK - 1 else {}
            ben.say(family.lab["rooms"][nickname]["room_id"], f"{round_name} {number}", **mention)


def secret_room(family: Family, owner: Client, *guests: str, nickname: str, invited: list[Client]) -> str:
    made = owner.post("/createRoom", preset="private_chat", name="Whispers", room_version="10", invite=list(guests), initial_state=[
        {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": crypto.MEGOLM}}])
    for guest in invited:
        guest.join(made["room_id"])
    return family.room(nickname, made["room_id"], "10")
