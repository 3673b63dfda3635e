"""A patched Conduit whose old Synapse gives wrong answers: nothing is lost by them, and nobody has to wait for others."""

import statistics
import threading
import time
from pathlib import Path

import requests

import conduit
import liar
import past
import secrecy
from api import TIMEOUT_SECONDS, Client, Refused, q
from notes import Notes
from people import Family, picture
from predecessor import expect_refusal, say

MOODS = ("is empty", "403", "404", "500", "429", "truncates", "resets", "hangs")
WAIT_SECONDS = 3
# What is done at once, even on a busy machine.
AT_ONCE_SECONDS = 5
STRANGERS = 6
# Pages that a stranger asks for: faster than a client scrolls.
A_SECOND = 10
# Who was never in most rooms, who came late, and who left.
KEPT_OUT = ("eve", "cleo", "hana")


def try_out(lab: Notes, binary: Path, database: Path) -> None:
    """Synapse runs; the database was made from what was recent. Raises at what is wrong."""
    long_story, hidden = lab["past"]["long"], lab["past"]["hidden"]
    before = Family(lab)
    unfetched = past.everything(before["ada"], long_story)[-100]["id"]
    expected = {(nickname, name): past.shown_by_both(past.everything(before[name], room), before.id(name))
                for nickname, room in lab["past"].items() for name in ("ada", "cleo", "dan", "eve")}
    secrets = secrecy.refused(lab, secretive(lab), *KEPT_OUT)
    with liar.between(lab["base_url"]) as upstream:
        section = ["[global.predecessor]", f'url = "{upstream.url}"', f"backfill_wait = {WAIT_SECONDS}"]
        with conduit.running(lab, binary, database, section, federation=True) as base_url:
            family = Family(lab, base_url)
            past.scroll(family["ada"], long_story, {}, [], pages=3)
            no_secret(lab, upstream, base_url, secrets, "what was fetched of a room begins in the middle")
            for mood in MOODS:
                upstream.be(mood)
                wrong(family["ada"], long_story, unfetched, mood)
            nobody_waits(lab, family, upstream, base_url, long_story)
            strangers(lab, family, upstream, base_url, long_story)
            upstream.be("honest")
            time.sleep(11)
            for (nickname, name), events in expected.items():
                seen = past.shown_by_both(past.everything(family[name], lab["past"][nickname]), family.id(name))
                seen = [event for event in seen if event["id"] not in lab.get("said", [])]
                past.same(f"{nickname}, {name}", without_replies(seen), without_replies(events))
                if (nickname, name) == ("long", "ada"):
                    counted(events, seen, lab["root"])
            say(f"after all that, {len(expected)} views of {len(lab['past'])} rooms are the same as on Synapse")
            no_secret(lab, upstream, base_url, secrets, "all rooms are there")
            finished(family, upstream, hidden)


def secretive(lab: Notes) -> list:
    """Events that are asked for by their ids: all states, which are stored before their place in a timeline is known, and some
    of what was said."""
    rooms = ", ".join(f"'{room}'" for room in lab["past"].values())
    there = f"room_id IN ({rooms})"
    return secrecy.events(lab, f"{there} AND state_key IS NOT NULL") + secrecy.events(lab, f"{there} AND state_key IS NULL")[::10]


def no_secret(lab: Notes, upstream: liar.Liar, base_url: str, secrets: dict, when: str) -> None:
    """Nobody is given what Synapse refused him, whatever Synapse does now."""
    settle(upstream)
    upstream.be("resets")
    answered, asked = secrecy.given(lab, base_url, secrets)
    assert asked and not answered, answered[:secrecy.SHOWN]
    upstream.be("honest")
    time.sleep(11)
    say(f"{when}: none of {asked} requests for events that Synapse refuses is answered")


def settle(upstream: liar.Liar) -> None:
    """Waits until Synapse is no longer asked."""
    asked = -1
    while asked != upstream.asked:
        asked = upstream.asked
        time.sleep(2)


def counted(before: list, after: list, root: str) -> None:
    """The reply that came before its root counts once."""
    [one, other] = [next(event["replies"] for event in events if event["id"] == root) for events in (before, after)]
    assert other == (one or 0) + 1, (one, other)


def without_replies(events: list) -> list:
    """The thread got a reply meanwhile."""
    return [{**event, "replies": None} for event in events]


def wrong(ada: Client, room: str, unfetched: str, mood: str) -> None:
    """Ada is told to come again: no page is empty, and no event is unknown."""
    position: dict = {}
    refused = expect_refusal(504, lambda: past.scroll(ada, room, position, [], patience=0))
    assert "answer" in str(refused), refused
    expect_refusal(504, lambda: ada.get(f"/rooms/{q(room)}/event/{q(unfetched)}"))
    say(f"a Synapse that {mood if not mood.isdigit() else 'answers ' + mood + ' with a page of HTML'}: ada is told to come again")


def timed(call) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def nobody_waits(lab: Notes, family: Family, upstream: liar.Liar, base_url: str, room: str) -> None:
    """Synapse hangs. What is here is served, what is said is said."""
    ada, ben = family["ada"], family["ben"]
    here = ada.upload(picture(1, 2, 3), "image/png", "here.png").removeprefix("mxc://")
    upstream.be("hangs")
    time.sleep(11)
    server = lab["server_name"]

    def download(media: str) -> int:
        url = f"{base_url}/_matrix/client/v1/media/download/{media}"
        headers = {"Authorization": f"Bearer {ada.token}"}
        return requests.get(url, headers=headers, timeout=TIMEOUT_SECONDS).status_code

    unknown = [threading.Thread(target=download, args=(f"{server}/unknown{number}",)) for number in range(5)]
    for thread in unknown:
        thread.start()
    took = timed(lambda: download(here))
    assert took < AT_ONCE_SECONDS, took
    root = past.everything(Family(lab)["ada"], room)[-30:]
    root = next(event["id"] for event in root if event["type"] == "m.room.message")
    said: list[str] = []
    replies = lambda: said.append(ben.say(room, "A late reply", **past.related("m.thread", root)))  # noqa: E731
    took = [timed(replies), timed(lambda: said.append(ada.say(room, "What others say")))]
    assert max(took) < AT_ONCE_SECONDS, took
    shown = ada.get(f"/rooms/{q(room)}/messages", dir="b", limit=10)["chunk"]
    assert sum(event["event_id"] == said[0] for event in shown) == 1, shown
    lab["said"], lab["root"] = said, root
    for thread in unknown:
        thread.join()
    say(f"Synapse hangs: files that are here, a reply to an old thread and other messages took {max(took):.1f} s at most")


def strangers(lab: Notes, family: Family, upstream: liar.Liar, base_url: str, room: str) -> None:
    """People who are not in the room scroll in it; everybody else goes on."""
    upstream.be("honest")
    time.sleep(11)
    eve = family["eve"]
    asked = upstream.asked
    refused = expect_refusal(403, lambda: eve.get(f"/rooms/{q(room)}/messages", dir="b", limit=1))
    assert refused.body["errcode"] == "M_FORBIDDEN", refused.body
    for call in (lambda: eve.get(f"/_matrix/client/v1/rooms/{q(room)}/threads", include="all"),
                 lambda: eve.get(f"/rooms/{q(room)}/messages", dir="f", limit=1)):
        try:
            call()
        except Refused as refused:
            assert refused.status == 403, refused
    assert upstream.asked == asked, "a stranger made Conduit ask Synapse"

    scroll = f"/rooms/{q(room)}/messages"
    url = base_url + "/_matrix/client/versions"
    idle = latency(url, None, "", 0)
    scrolled = latency(url, eve, scroll, A_SECOND)
    say(f"{STRANGERS} strangers ask for {A_SECOND} pages a second each: /versions takes {scrolled * 1000:.1f} ms, and {idle * 1000:.1f} idle")
    assert scrolled < max(2 * idle, 0.005), (scrolled, idle)
    # As many clients that ask, as fast as they can, for what costs next to nothing: the laboratory itself takes its share of the machine.
    quiet, busy = latency(url, eve, "/account/whoami", 0), latency(url, eve, scroll, 0)
    say(f"as fast as they can: {busy * 1000:.1f} ms, and {quiet * 1000:.1f} while they ask who they are")
    assert busy < max(2 * quiet, 0.05), (busy, quiet)


def latency(url: str, stranger: Client | None, path: str, a_second: int) -> float:
    """The median time that the URL takes while so many clients ask for the path; so often, or without a pause."""
    stop = threading.Event()

    def ask() -> None:
        client = Client(stranger.base_url, stranger.token, stranger.user_id)
        while not stop.wait(1 / a_second if a_second else 0):
            try:
                client.get(path, dir="b", limit=1)
            except Refused:
                pass

    threads = [threading.Thread(target=ask) for _ in range(STRANGERS if stranger else 0)]
    for thread in threads:
        thread.start()
    with requests.Session() as session:
        median = statistics.median(timed(lambda: session.get(url, timeout=TIMEOUT_SECONDS)) for _ in range(200))
    stop.set()
    for thread in threads:
        thread.join()
    return median


def finished(family: Family, upstream: liar.Liar, room: str) -> None:
    """A room of which nothing is missing asks nobody, whatever Synapse does."""
    upstream.be("hangs")
    asked = upstream.asked
    took = timed(lambda: past.everything(family["ada"], room))
    expect_refusal(404, lambda: family["ada"].get(f"/rooms/{q(room)}/event/$made_up"))
    assert upstream.asked == asked and took < 2 * AT_ONCE_SECONDS, (upstream.asked - asked, took)
    say(f"a finished room is read in {took:.1f} s, and Synapse is not asked")
