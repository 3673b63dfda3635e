"""A patched Conduit fetches its own past: people scroll back to the create event, and see what they saw on Synapse."""

import os
import signal
import time
from pathlib import Path

import conduit
import synapse
import tokens
from api import Client, Refused, q
from notes import Notes
from people import Family
from predecessor import expect_refusal, say

LONG = 2_000
VERSIONS = ("3", "6", "9", "11", "12")
VISIBILITIES = ("world_readable", "shared", "invited", "joined")
PAGE = 50
BETWEEN = 40
PATIENCE_SECONDS = 60


def tell(lab: Notes) -> None:
    """Rooms with more history than a dump of what is recent holds."""
    family = Family(lab)
    lab["past"] = {"long": long(family), "hidden": hidden(family)}
    lab["past"] |= {f"version {version}": of_version(family, version) for version in VERSIONS}
    lab["past"] |= {visibility: seen_by_some(family, visibility) for visibility in VISIBILITIES}
    lab.save()


def create(family: Family, version: str, *guests: str, **body) -> str:
    room = family["ada"].post("/createRoom", preset="private_chat", room_version=version, **body)["room_id"]
    for guest in guests:
        come(family, room, guest)
    return room


def come(family: Family, room: str, guest: str) -> None:
    family["ada"].invite(room, family.id(guest))
    family[guest].join(room)


def related(kind: str, event: str, **more) -> dict:
    return {"m.relates_to": {"rel_type": kind, "event_id": event, **more}}


def talk(family: Family, room: str, number: int) -> list[str]:
    """Messages with edits, reactions, redactions, new topics, and a thread on the first one."""
    ada, ben, said = family["ada"], family["ben"], []
    for n in range(number):
        if n % 50 == 7:
            ada.state(room, "m.room.topic", topic=f"Topic {n}")
        elif n % 40 == 9:
            ben.say(room, f"* word{n}", **{"m.new_content": {"msgtype": "m.text", "body": f"word{n}"}},
                    **related("m.replace", said[-3]))
        elif n % 30 == 11:
            ben.send(room, "m.reaction", **related("m.annotation", said[-5], key="👍"))
        elif n % 60 == 13:
            ben.say(room, f"In the thread {n}", **related("m.thread", said[0]))
        elif n % 90 == 17:
            ada.redact(room, said.pop(-2), reason="a typo")
        else:
            said.append((ada, ben)[n % 2].say(room, f"Message {n} wort{n}"))
    return said


def long(family: Family) -> str:
    room = create(family, "10", "ben", "cleo", name="A long story")
    said = talk(family, room, LONG)
    # What is recent points to what is not.
    family["ben"].say(room, "The last word in the thread", **related("m.thread", said[0]))
    family["cleo"].send(room, "m.reaction", **related("m.annotation", said[100], key="📜"))
    family["ada"].redact(room, said[200], reason="long ago")
    return room


def of_version(family: Family, version: str) -> str:
    room = create(family, version, "ben", name=f"A long story of version {version}")
    said = talk(family, room, 150)
    family["ada"].redact(room, said[20])
    return room


def seen_by_some(family: Family, visibility: str) -> str:
    """Cleo is invited, joins, leaves and comes back; Hana comes and leaves."""
    room = create(family, "10", "ben", name=visibility,
                  initial_state=[{"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}])
    ada, cleo = family["ada"], family["cleo"]

    def chat() -> None:
        for n in range(BETWEEN):
            ada.say(room, f"{visibility} {n}")

    chat()
    ada.invite(room, cleo.user_id)
    chat()
    cleo.join(room)
    come(family, room, "hana")
    chat()
    cleo.leave(room)
    family["hana"].leave(room)
    chat()
    come(family, room, "cleo")
    chat()
    return room


def hidden(family: Family) -> str:
    """Cleo, who comes late, sees the beginning and the end, and nothing of more than a page between them."""
    room = create(family, "10", "ben", name="A secret in the middle")
    ada = family["ada"]
    for visibility, number in (("shared", 60), ("joined", 250), ("shared", 80)):
        ada.state(room, "m.room.history_visibility", history_visibility=visibility)
        for n in range(number):
            ada.say(room, f"{visibility} {n}")
    come(family, room, "cleo")
    return room


def try_out(lab: Notes, binary: Path, database: Path) -> None:
    """Synapse runs; the database was made from what was recent. Raises at what is wrong."""
    expected = {(nickname, name): shown_by_both(everything(Family(lab)[name], room), Family(lab).id(name))
                for nickname, room in lab["past"].items() for name in ("ada", "cleo", "dan")}
    long_story = lab["past"]["long"]
    root = next(event["id"] for event in expected["long", "ada"] if event["replies"])
    kept = tokens.kept(Family(lab)["ada"], long_story, root)
    shown = interrupted(lab, binary, database, long_story)
    same("long, interrupted", shown_by_both(shown, Family(lab).id("ada")), expected["long", "ada"])
    say(f"{len(shown)} events to the create event, with Conduit and Synapse killed meanwhile")
    with conduit.running(lab, binary, database, section(lab), federation=True) as base_url:
        family = Family(lab, base_url)
        for (nickname, name), events in expected.items():
            seen = shown_by_both(everything(family[name], lab["past"][nickname]), family.id(name))
            same(f"{nickname}, {name}", seen, events)
        say(f"{len(expected)} views of {len(lab['past'])} rooms are the same as on Synapse")
        derived(Family(lab), family, long_story)
    with conduit.running(lab, binary, database) as base_url:
        family = Family(lab, base_url)
        seen = shown_by_both(everything(family["ada"], long_story), family.id("ada"))
        same("without Synapse", seen, expected["long", "ada"])
        say("the events are there without Synapse and without the configuration")
        tried = tokens.try_out(family["ada"], long_story, root, kept)
        say(f"{tried} tokens of Synapse's are taken by all that has pages, which begin where these point to")


def section(lab: Notes, **more) -> list[str]:
    return ["[global.predecessor]", f'url = "{lab["base_url"]}"', *(f"{name} = {value}" for name, value in more.items())]


def interrupted(lab: Notes, binary: Path, database: Path, room: str) -> list:
    """Ada scrolls; Conduit is killed, then Synapse, then both come back."""
    token, user = lab["users"]["ada"]["devices"][0]["access_token"], lab["users"]["ada"]["user_id"]
    shown, position = [], {}
    for pages in (3, 5, 2, 0):
        process, base_url = conduit.start(lab, binary, database, section(lab, backfill_wait=3), federation=True)
        ada = Client(base_url, token, user)
        scroll(ada, room, position, shown, pages)
        if pages == 5:
            killed(lab)
            began = time.monotonic()
            refused = expect_refusal(504, lambda: scroll(ada, room, position, shown, patience=0))
            assert time.monotonic() - began < PATIENCE_SECONDS, refused
            synapse.start(lab, None, port=int(lab["base_url"].rpartition(":")[2]))
            scroll(ada, room, position, shown, 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    return shown


def killed(lab: Notes) -> None:
    os.kill(lab["pid"], signal.SIGKILL)
    while synapse.running(lab):
        time.sleep(0.1)


def scroll(client: Client, room: str, position: dict, shown: list, pages: int = 0, patience: int = PATIENCE_SECONDS) -> None:
    """Reads so many pages backwards, or all; notes in `position` how far it came."""
    while True:
        page = read(client, room, position, patience)
        shown += [view(event) for event in page["chunk"]]
        if page.get("end") in (None, position.get("from")):
            return
        position["from"] = page["end"]
        pages -= 1
        if pages == 0:
            return


def read(client: Client, room: str, position: dict, patience: int) -> dict:
    """A page. Where Synapse has not answered in time, it is asked for again, as clients do."""
    until = time.monotonic() + patience
    while True:
        try:
            return client.get(f"/rooms/{q(room)}/messages", dir="b", limit=PAGE, **position)
        except Refused as refused:
            if refused.status != 504 or time.monotonic() > until:
                raise
        time.sleep(1)


def everything(client: Client, room: str) -> list:
    shown = []
    try:
        scroll(client, room, {}, shown)
    except Refused as refused:
        assert refused.status == 403, refused
    return shown


def shown_by_both(events: list, user_id: str) -> list:
    """All but what one server shows by a rule that the other doesn't have: Synapse how the user was invited, came and left, and
    events that make what follows visible; Conduit, to who was never in the room, the create event, which has no state before it
    (src/service/rooms/state_accessor/mod.rs:170-225)."""
    stranger = not any(is_of(event, user_id) for event in events)
    kinds = {"m.room.create"} if stranger else set()
    return [event for event in events
            if event["type"] not in kinds and not is_of(event, user_id) and not is_opening(event, stranger)]


def is_of(event: dict, user_id: str) -> bool:
    return event["type"] == "m.room.member" and event["state_key"] == user_id


def is_opening(event: dict, stranger: bool) -> bool:
    return event["type"] == "m.room.history_visibility" and (stranger or event["before"] is not None)


def view(event: dict) -> dict:
    """What both servers should say of an event."""
    unsigned = event.get("unsigned", {})
    content = {name: value for name, value in event["content"].items() if name != "redacts"}
    thread = unsigned.get("m.relations", {}).get("m.thread", {})
    return {"id": event["event_id"], "type": event["type"], "sender": event["sender"], "content": content,
            "state_key": event.get("state_key"), "before": unsigned.get("prev_content"),
            "redaction": unsigned.get("redacted_because", {}).get("event_id"), "replies": thread.get("count")}


def derived(before: Family, after: Family, room: str) -> None:
    """Relations, threads and the search know what was fetched."""
    def threads(family: Family) -> list:
        return [view(event) for event in family["ada"].get(f"/_matrix/client/v1/rooms/{q(room)}/threads", include="all")["chunk"]]

    def relations(family: Family, event: str) -> set:
        found = family["ada"].get(f"/_matrix/client/v1/rooms/{q(room)}/relations/{q(event)}", limit=100)["chunk"]
        return {event["event_id"] for event in found}

    def found(family: Family, word: str) -> set:
        criteria = {"search_term": word, "filter": {"rooms": [room], "limit": 50}}
        results = family["ada"].post("/search", search_categories={"room_events": criteria})
        return {result["result"]["event_id"] for result in results["search_categories"]["room_events"]["results"]}

    def context(family: Family, event: str) -> list:
        answer = family["cleo"].get(f"/rooms/{q(room)}/context/{q(event)}", limit=20)
        return [view(event) for part in ("events_before", "events_after") for event in answer[part]]

    same("threads", threads(after), threads(before))
    root = threads(before)[0]["id"]
    same("relations", relations(after, root), relations(before, root))
    assert relations(after, root), root
    for word in ("wort1200", "wort1502"):
        # Synapse finds words that are nearly the same, too.
        [event] = found(after, word)
        assert event in found(before, word), word
        same("context", context(after, event), context(before, event))
    say("threads, relations, search and context are the same as on Synapse")


def same(what: str, found, expected) -> None:
    if found == expected:
        return
    print(f"{what}: {len(found)} instead of {len(expected)}")
    for number, (one, other) in enumerate(zip(found, expected, strict=False)):
        if one != other:
            print(f"at {number}:\n  {one}\ninstead of\n  {other}")
            break
    raise AssertionError(what)
