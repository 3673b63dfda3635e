"""Synapse's pagination tokens on a patched Conduit: what clients keep, and go on asking with."""

from api import Client, q

SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
LIMIT = 30
# In other forms than those that a laboratory's Synapse gives: with several writers, before the room's first own event.
FORMS = ("s12", "p5", "t5--12", "m56~2.58~3.59_8_0", "5_12")


def kept(client: Client, room: str, root: str) -> dict:
    """What a client gets from Synapse: by where it came from."""
    sync = client.get("/sync", timeout=0, filter='{"room":{"timeline":{"limit":1}}}')
    messages = client.get(f"/rooms/{q(room)}/messages", dir="b", limit=5)
    relations = client.get(relations_of(room, root), limit=1)
    lists = {"all": {"ranges": [[0, 5]], "timeline_limit": 1, "required_state": []}}
    return {"since": sync["next_batch"], "prev_batch": sync["rooms"]["join"][room]["timeline"]["prev_batch"],
            "start": messages["start"], "end": messages["end"], "relations": relations["next_batch"],
            "pos": client.post(SLIDING, lists=lists)["pos"]}


def try_out(client: Client, room: str, root: str, tokens: dict) -> int:
    """A token of Synapse's counts as none. Returns how many were tried."""
    tried = [*tokens.values(), *FORMS]
    assert not any(token.lstrip("-").isdigit() for token in tried), tried

    def ids(path: str, **params) -> list[str]:
        return [event["event_id"] for event in client.get(path, **params)["chunk"]]

    messages, relations = f"/rooms/{q(room)}/messages", relations_of(room, root)
    threads = f"/_matrix/client/v1/rooms/{q(room)}/threads"
    newest = ids(messages, dir="b", limit=LIMIT)
    oldest = ids(messages, dir="f", limit=LIMIT)
    related, rooted = ids(relations, limit=LIMIT), ids(threads, include="all")
    assert newest and oldest and related and rooted, (newest, oldest, related, rooted)
    for token in tried:
        assert ids(messages, dir="b", limit=LIMIT, **{"from": token, "to": token}) == newest, token
        assert ids(messages, dir="f", limit=LIMIT, **{"from": token}) == oldest, token
        assert ids(relations, limit=LIMIT, **{"from": token, "to": token}) == related, token
        assert ids(threads, include="all", **{"from": token}) == rooted, token
        client.get("/keys/changes", **{"from": token, "to": token})
    # The page goes on with Conduit's own token.
    page = client.get(messages, dir="b", limit=5, **{"from": tokens["prev_batch"]})
    following = ids(messages, dir="b", limit=LIMIT - 5, **{"from": page["end"]})
    assert [event["event_id"] for event in page["chunk"]] + following == newest, page["end"]
    sync = client.get("/sync", timeout=0, since=tokens["since"])
    assert room in sync["rooms"]["join"] and sync["next_batch"].isdigit(), sync["next_batch"]
    sliding = client.call("POST", SLIDING, {}, params={"pos": tokens["pos"]})
    assert sliding["pos"].isdigit(), sliding["pos"]
    return len(tried)


def relations_of(room: str, event: str) -> str:
    return f"/_matrix/client/v1/rooms/{q(room)}/relations/{q(event)}"
