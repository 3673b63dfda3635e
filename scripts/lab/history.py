"""The past of generated rooms, as those who were there from the beginning and those who came later see it."""

import json
import time
from pathlib import Path

import conduit
import snapshot
from api import Client, q
from notes import Notes

# What is looked at: the largest rooms, in each of them so many who came later, and so many old events.
ROOMS, MEMBERS, OLD = 20, 3, 12
PAGE = 100


def take(lab: Notes, base_url: str) -> dict:
    rooms = sorted(lab["rooms"].items(), key=lambda item: int(item[0].removeprefix("room")))[:ROOMS]
    return {nickname: views(lab, base_url, room) for nickname, room in rooms}


def views(lab: Notes, base_url: str, room: dict) -> dict:
    """By user: the whole timeline from its newest event; of the creator and one other also what else tells of the past."""
    creator = client(lab, base_url, room["creator"])
    joined = sorted(creator.get(f"/rooms/{q(room['room_id'])}/joined_members")["joined"])
    others = [user.removeprefix("@").partition(":")[0] for user in joined if user != creator.user_id]
    few = others[::max(1, len(others) // MEMBERS)][:MEMBERS]
    seen = {}
    for place, name in enumerate([room["creator"], *few]):
        member = client(lab, base_url, name)
        events = timeline(member, room["room_id"])
        seen[name] = {"history": {f"{event['type']} {event['sender']} {event['event_id']}": True for event in events},
                      "order": [event["event_id"] for event in events]}
        if place < 2:
            seen[name] |= more(member, room["room_id"], events)
    return seen


def timeline(member: Client, room: str) -> list[dict]:
    """All events that are shown, newest first."""
    found, position = [], {}
    while True:
        page = member.get(f"/rooms/{q(room)}/messages", dir="b", limit=PAGE, **position)
        found += page["chunk"]
        if not page["chunk"] or page.get("end") in (None, position.get("from")):
            return found
        position = {"from": page["end"]}


def more(member: Client, room: str, events: list[dict]) -> dict:
    old = [event["event_id"] for event in events[::max(1, len(events) // OLD)]]
    words = [word for event in reversed(events) for word in event["content"].get("body", "").split()
             if word.startswith("milestone")]
    threads = pages(member, f"/_matrix/client/v1/rooms/{q(room)}/threads")
    shown = {event["event_id"] for event in events}
    related = [event["content"]["m.relates_to"]["event_id"] for event in events
               if event["content"].get("m.relates_to", {}).get("event_id") in shown]
    return {
        "context": {event: context(member, room, event) for event in old},
        "search": {word: snapshot.search(member, word) for word in words[:5]},
        "threads": {event: True for event in threads},
        "relations": {event: sorted(pages(member, f"/_matrix/client/v1/rooms/{q(room)}/relations/{q(event)}"))
                      for event in related[::max(1, len(related) // OLD)]},
    }


def context(member: Client, room: str, event: str) -> dict:
    """What is around an event, and the state there."""
    answer = member.get(f"/rooms/{q(room)}/context/{q(event)}", limit=10)
    return {
        "around": [found["event_id"] for side in ("events_before", "events_after") for found in answer.get(side, [])],
        "state": {f"{entry['type']}|{entry['state_key']}": entry["event_id"] for entry in answer.get("state", [])},
    }


def pages(member: Client, path: str) -> list[str]:
    found, position = [], {}
    while True:
        page = member.get(path, limit=PAGE, **position)
        found += [event["event_id"] for event in page["chunk"]]
        if not page["chunk"] or not page.get("next_batch"):
            return found
        position = {"from": page["next_batch"]}


def client(lab: Notes, base_url: str, name: str) -> Client:
    user = lab["users"][name]
    device = user["devices"][0]
    return Client(base_url, device["access_token"], user["user_id"], device["device_id"])


def write(lab: Notes, base_url: str, output: Path) -> None:
    output.write_text(json.dumps(take(lab, base_url), indent=1, ensure_ascii=False))


def try_out(lab: Notes, binary: Path, database: Path, after: Path) -> None:
    """Looks at the same past on Conduit."""
    begin = time.monotonic()
    with conduit.running(lab, binary, database) as base_url:
        print(f"Conduit answers after {time.monotonic() - begin:.1f} s")
        write(lab, base_url, after)
