"""Threads that began long ago, on a server that was made from what is recent: they go on if their first events came along."""

from pathlib import Path

import conduit
import servers
from api import Client, Refused, q
from notes import Notes
from past import related
from people import Family
from predecessor import expect_refusal, say

# What a dump holds of a room at least.
NEWEST = 50


def try_out(lab: Notes, binary: Path, database: Path, without: Path) -> None:
    """`database` has the first events, and `without` has not. Raises at what is wrong."""
    refuses = servers.of(binary).refuses_rootless_replies
    with conduit.running(lab, binary, database) as base_url:
        family = Family(lab, base_url)
        ada, stranger = family["ada"], family["jack"]
        threads = begun_earlier(lab, ada)
        assert len(threads) > 5, threads
        strangers = 0
        for room, root in threads:
            counted = replies(ada, room, root)
            answered = ada.say(room, "Where were we?", **related("m.thread", root))
            assert replies(ada, room, root) == counted + 1, (room, root)
            assert newest(ada, room)[0]["event_id"] == answered
            strangers += is_hidden_from(stranger, room, root)
        assert strangers, "the stranger sees all of them"
        say(f"replies in {len(threads)} threads, and {strangers} of their first events are refused to a stranger")
        taken_back(ada, threads)
    with conduit.running(lab, binary, without) as base_url:
        ada = Family(lab, base_url)["ada"]
        assert begun_earlier(lab, ada) == threads
        for room, root in threads:
            expect_refusal(404, lambda: event(ada, room, root))
            if refuses:
                expect_refusal(400, lambda: ada.say(room, "Where were we?", **related("m.thread", root)))
            else:
                ada.say(room, "Where were we?", **related("m.thread", root))
            # A refused one is there all the same, and nobody else is told of it.
            assert newest(ada, room)[0]["content"]["body"] == "Where were we?"
        say(f"replies in the same threads are {'refused' if refuses else 'taken'} without their first events")


def begun_earlier(lab: Notes, client: Client) -> list[tuple[str, str]]:
    """Rooms and first events of threads in which somebody has replied lately, and that began before what is recent."""
    threads, joined = set(), client.get("/joined_rooms")["joined_rooms"]
    able = {room["room_id"] for room in lab["rooms"].values() if int(room["version"]) >= conduit.OLDEST_ROOM_VERSION}
    for room in able.intersection(joined):
        events = newest(client, room)
        relations = [event["content"].get("m.relates_to", {}) for event in events]
        roots = {relation["event_id"] for relation in relations if relation.get("rel_type") == "m.thread"}
        threads |= {(room, root) for root in roots - {event["event_id"] for event in events}}
    return sorted(threads)


def newest(client: Client, room: str) -> list[dict]:
    return client.get(f"/rooms/{q(room)}/messages", dir="b", limit=NEWEST)["chunk"]


def event(client: Client, room: str, event_id: str) -> dict:
    return client.get(f"/rooms/{q(room)}/event/{q(event_id)}")


def replies(client: Client, room: str, root: str) -> int:
    return event(client, room, root)["unsigned"]["m.relations"]["m.thread"]["count"]


def is_hidden_from(stranger: Client, room: str, root: str) -> bool:
    """Who is in the room sees the event."""
    joined = room in stranger.get("/joined_rooms")["joined_rooms"]
    try:
        event(stranger, room, root)
        return False
    except Refused as refused:
        assert refused.status in (403, 404) and not joined, refused
        return True


def taken_back(client: Client, threads: list[tuple[str, str]]) -> None:
    """Who deletes the first event of a thread has deleted it."""
    room, root = next((room, root) for room, root in threads if event(client, room, root)["sender"] == client.user_id)
    client.redact(room, root)
    assert "body" not in event(client, room, root)["content"]
    say("what is deleted is gone")
