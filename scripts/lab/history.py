"""The past of generated rooms, as those who were there from the beginning and those who came later see it."""

import json
import time
from pathlib import Path

import compare
import conduit
import servers
import snapshot
from api import Client, q
from notes import Notes

# What is looked at: the largest rooms, in each of them so many who came later, and so many old events.
ROOMS, MEMBERS, OLD = 20, 3, 12
PAGE = 100


def take(lab: Notes, base_url: str, before: dict | None) -> dict:
    """By room and user; after `before`, the same things are looked at."""
    rooms = sorted(lab["rooms"].items(), key=lambda item: int(item[0].removeprefix("room")))[:ROOMS]
    return {nickname: views(lab, base_url, room, (before or {}).get(nickname)) for nickname, room in rooms}


def views(lab: Notes, base_url: str, room: dict, before: dict | None) -> dict:
    """By user: the whole timeline from its newest event; of the creator and one other also what else tells of the past."""
    seen = {}
    for place, name in enumerate(before or some(client(lab, base_url, room["creator"]), room["room_id"])):
        member = client(lab, base_url, name)
        events = timeline(member, room["room_id"])
        seen[name] = {"history": {label(event): True for event in events},
                      "order": [event["event_id"] for event in events]}
        if before:
            missing = before[name]["history"].keys() - seen[name]["history"].keys()
            seen[name]["unreached"] = sorted(event for event in missing if may_see(member, room["room_id"], event.split()[-1]))
            seen[name]["history"] |= dict.fromkeys(seen[name]["unreached"], True)
        if place < 2:
            seen[name] |= more(member, room["room_id"], before[name] if before else what_to_ask(events))
    return seen


def label(event: dict) -> str:
    """What happened, and to whom or by whom."""
    subject = event["state_key"] if event["type"] == "m.room.member" else event["sender"]
    return f"{event['type']} {subject} {event['event_id']}"


def some(creator: Client, room: str) -> list[str]:
    """The creator, who sees all, and a few others."""
    joined = sorted(creator.get(f"/rooms/{q(room)}/joined_members")["joined"])
    names = [user.removeprefix("@").partition(":")[0] for user in joined if user != creator.user_id]
    return [creator.user_id.removeprefix("@").partition(":")[0], *names[::max(1, len(names) // MEMBERS)][:MEMBERS]]


def may_see(member: Client, room: str, event: str) -> bool:
    return "event_id" in snapshot.attempt(member, f"/rooms/{q(room)}/event/{q(event)}")


def timeline(member: Client, room: str) -> list[dict]:
    """All events that are shown, newest first."""
    found, position = [], {}
    while True:
        page = member.get(f"/rooms/{q(room)}/messages", dir="b", limit=PAGE, **position)
        found += page["chunk"]
        if not page["chunk"] or page.get("end") in (None, position.get("from")):
            return found
        position = {"from": page["end"]}


def what_to_ask(events: list[dict]) -> dict[str, list[str]]:
    """Old events, words and relations from all over the timeline."""
    shown = {event["event_id"] for event in events}
    related = [event["content"]["m.relates_to"]["event_id"] for event in events
               if event["content"].get("m.relates_to", {}).get("event_id") in shown]
    messages = [event["event_id"] for event in events if "state_key" not in event]
    words = [word for event in reversed(events) for word in event["content"].get("body", "").split()
             if word.startswith("milestone")]
    return {
        "state": messages[::max(1, len(messages) // OLD)],
        "search": words[:5],
        "relations": related[::max(1, len(related) // OLD)],
    }


def more(member: Client, room: str, questions: dict) -> dict:
    path = f"/_matrix/client/v1/rooms/{q(room)}"
    return {
        "state": {event: state(member, room, event) for event in questions["state"]},
        "search": {word: snapshot.search(member, word) for word in questions["search"]},
        "relations": {event: dict.fromkeys(pages(member, f"{path}/relations/{q(event)}"), True)
                      for event in questions["relations"]},
        "threads": dict.fromkeys(pages(member, f"{path}/threads", include="all"), True),
    }


def state(member: Client, room: str, event: str) -> dict[str, str]:
    """The state at an event that does not change it."""
    answer = member.get(f"/rooms/{q(room)}/context/{q(event)}", limit=0)
    return {f"{entry['type']}|{entry['state_key']}": entry["event_id"] for entry in answer["state"]}


def pages(member: Client, path: str, **more) -> list[str]:
    found, position = [], {}
    while True:
        page = member.get(path, limit=PAGE, **more, **position)
        found += [event["event_id"] for event in page["chunk"]]
        if not page["chunk"] or not page.get("next_batch"):
            return found
        position = {"from": page["next_batch"]}


def client(lab: Notes, base_url: str, name: str) -> Client:
    user = lab["users"][name]
    device = user["devices"][0]
    return Client(base_url, device["access_token"], user["user_id"], device["device_id"])


def write(lab: Notes, base_url: str, output: Path, before: dict | None = None) -> None:
    output.write_text(json.dumps(take(lab, base_url, before), indent=1, ensure_ascii=False))


def try_out(lab: Notes, binary: Path, database: Path, before: Path, after: Path) -> int:
    """Looks at the same past on the other server. Returns how much is unexplained."""
    server, begin = servers.of(binary), time.monotonic()
    with conduit.running(lab, binary, database) as base_url:
        print(f"{server.name} answers after {time.monotonic() - begin:.1f} s")
        write(lab, base_url, after, json.loads(before.read_text()))
    return compare.report(server, before, after)
