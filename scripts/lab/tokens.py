"""Synapse's pagination tokens on a patched Conduit: what clients keep, and go on asking with."""

from api import Client, q

SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
LIMIT = 30
# The most that Conduit gives at once.
MOST = 100
# What points to no place, or behind the newest event.
FORMS = ("p5", "5_12", "m5~", "s9999999999", "m999999~2.999999~3.9999999_8_0")


def kept(client: Client, room: str, root: str) -> dict:
    """What a client gets from Synapse: tokens, by where they came from, and what Synapse gives for those that are of this room."""
    sync = client.get("/sync", timeout=0, filter='{"room":{"timeline":{"limit":1}}}')
    messages = client.get(f"/rooms/{q(room)}/messages", dir="b", limit=5)
    relations = client.get(relations_of(room, root), limit=1)
    lists = {"all": {"ranges": [[0, 5]], "timeline_limit": 1, "required_state": []}}
    tokens = {"since": sync["next_batch"], "prev_batch": sync["rooms"]["join"][room]["timeline"]["prev_batch"],
              "start": messages["start"], "end": messages["end"], "relations": relations["next_batch"],
              "pos": client.post(SLIDING, lists=lists)["pos"]}
    return {"tokens": tokens, "pages": {name: pages(client, room, tokens[name]) for name in ("since", "prev_batch", "start", "end")},
            "related": ids(client, relations_of(room, root), limit=MOST, **{"from": tokens["relations"]})}


def ids(client: Client, path: str, **params) -> list[str]:
    return [event["event_id"] for event in client.get(path, **params)["chunk"]]


def pages(client: Client, room: str, token: str) -> dict[str, list[str]]:
    """What is given from a token on, backwards and forwards."""
    return {direction: ids(client, f"/rooms/{q(room)}/messages", dir=direction, limit=LIMIT, **{"from": token}) for direction in "bf"}


def try_out(client: Client, room: str, root: str, kept: dict) -> int:
    """A page begins where a token of Synapse's points to, or else at the end. Returns how many were tried."""
    tokens = kept["tokens"]
    assert not any(token.lstrip("-").isdigit() for token in (*tokens.values(), *FORMS)), tokens
    messages, relations = f"/rooms/{q(room)}/messages", relations_of(room, root)
    threads = f"/_matrix/client/v1/rooms/{q(room)}/threads"
    newest, oldest = ids(client, messages, dir="b", limit=LIMIT), ids(client, messages, dir="f", limit=LIMIT)
    related, rooted = ids(client, relations, limit=MOST), ids(client, threads, include="all")
    assert newest and oldest and related and rooted, (newest, oldest, related, rooted)
    for name, expected in kept["pages"].items():
        assert pages(client, room, tokens[name]) == expected, (name, tokens[name])
    # Conduit has them in another order (importer/docs/upstream.md).
    following = ids(client, relations, limit=MOST, **{"from": tokens["relations"]})
    assert sorted(following) == sorted(kept["related"]), (tokens["relations"], related, following, kept["related"])
    for token in FORMS:
        assert ids(client, messages, dir="b", limit=LIMIT, **{"from": token, "to": token}) == newest, token
        assert ids(client, relations, limit=MOST, **{"from": token, "to": token}) == related, token
    for token in ("p5", "5_12", "m5~"):
        assert ids(client, messages, dir="f", limit=LIMIT, **{"from": token}) == oldest, token
    depths = by_depth(client, room)
    middle = sorted(depths.values())[len(depths) // 2]
    page = ids(client, messages, dir="b", limit=LIMIT, **{"from": f"t{middle}--12"})
    assert [depths[event] for event in page] == list(range(middle, middle - LIMIT, -1)), page
    for token in (*tokens.values(), *FORMS):
        assert ids(client, threads, include="all", **{"from": token}) == rooted, token
        client.get("/keys/changes", **{"from": token, "to": token})
    # The page goes on with Conduit's own token.
    page = client.get(messages, dir="b", limit=5, **{"from": tokens["prev_batch"]})
    following = ids(client, messages, dir="b", limit=LIMIT - 5, **{"from": page["end"]})
    assert [event["event_id"] for event in page["chunk"]] + following == kept["pages"]["prev_batch"]["b"], page["end"]
    sync = client.get("/sync", timeout=0, since=tokens["since"])
    assert room in sync["rooms"]["join"] and sync["next_batch"].isdigit(), sync["next_batch"]
    sliding = client.call("POST", SLIDING, {}, params={"pos": tokens["pos"]})
    assert sliding["pos"].isdigit(), sliding["pos"]
    return len(tokens) + len(FORMS) + 1


def by_depth(client: Client, room: str) -> dict[str, int]:
    """The depth of each event of a room that has no forks: its place, counted from the create event."""
    found, token = [], {}
    while True:
        page = client.get(f"/rooms/{q(room)}/messages", dir="f", limit=100, **token)
        found += [event["event_id"] for event in page["chunk"]]
        if not page.get("end") or not page["chunk"]:
            return {event: depth for depth, event in enumerate(found, 1)}
        token = {"from": page["end"]}


def relations_of(room: str, event: str) -> str:
    return f"/_matrix/client/v1/rooms/{q(room)}/relations/{q(event)}"
