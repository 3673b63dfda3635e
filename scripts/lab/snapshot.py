"""What each device sees of a homeserver, in a form that two servers can be compared by."""

import json
from pathlib import Path

import media
from api import Client, Refused, q
from notes import Notes

PAGE = 100
PUSH_RULES = {"override", "content", "room", "sender", "underride"}
# Words of the story: of a room with a past that some may not see, in one message, in a thread, in an edit, in a message
# that was redacted, nowhere.
WORDS = ["Message", "cake", "thread", "Chocolate", "tpyo", "fishing", "nowhere"]


def take(lab: Notes, homeserver: str | None) -> dict:
    """Looks through every device's token. Nothing is acknowledged: the server keeps what waits for a device."""
    base_url = homeserver or lab["base_url"]
    seen, addresses = {}, set()
    for name, user in sorted(lab["users"].items()):
        for number, device in enumerate(user["devices"]):
            client = Client(base_url, device["access_token"], user["user_id"], device["device_id"])
            seen[f"{name}/{number}"] = device_view(client, lab, addresses)
    uris = {uri: uri for uri in sorted(addresses)} | lab.get("media", {})
    return {"devices": seen, "media": {name: media.views(client, uris) for name, client in first_devices(lab, base_url)}}


def first_devices(lab: Notes, base_url: str):
    """Each user's first device."""
    for name, user in sorted(lab["users"].items()):
        for device in user["devices"][:1]:
            yield name, Client(base_url, device["access_token"], user["user_id"], device["device_id"])


def device_view(client: Client, lab: Notes, addresses: set[str]) -> dict:
    sync = client.get("/sync", timeout=0, filter=json.dumps({"room": {"include_leave": True}}))
    nicknames = {room["room_id"]: nickname for nickname, room in lab["rooms"].items()}

    def section(name: str) -> dict[str, tuple[str, dict]]:
        views = sync.get("rooms", {}).get(name, {})
        return {nicknames.get(room, room): (room, view) for room, view in views.items()}

    users = [user["user_id"] for user in lab["users"].values()]
    profiles = {user: attempt(client, f"/profile/{q(user)}") for user in users}
    addresses.update(p["avatar_url"] for p in profiles.values() if p.get("avatar_url"))
    return {
        "whoami": {key: value for key, value in client.get("/account/whoami").items() if key != "is_guest"},
        "devices": {d["device_id"]: d.get("display_name") for d in client.get("/devices")["devices"]},
        "account_data": data(sync.get("account_data", {})),
        "to_device": sync.get("to_device", {}).get("events", []),
        "join": {name: joined(client, room, view) for name, (room, view) in section("join").items()},
        "invite": {name: stripped(view["invite_state"]) for name, (_, view) in section("invite").items()},
        "knock": {name: stripped(view["knock_state"]) for name, (_, view) in section("knock").items()},
        "leave": {name: room for name, (room, _) in section("leave").items()},
        "profiles": profiles,
        "keys": keys(client, users),
        "one_time_keys": sync.get("device_one_time_keys_count"),
        "backup": backup(client),
        "push_rules": rules(client.get("/pushrules/")["global"]),
        "filters": {number: attempt(client, f"/user/{q(client.user_id)}/filter/{number}") for number in range(2)},
        "search": {word: search(client, word) for word in WORDS},
        "pushers": {pusher["pushkey"]: pusher for pusher in client.get("/pushers")["pushers"]},
    }


def joined(client: Client, room: str, view: dict) -> dict:
    state = client.get(f"/rooms/{q(room)}/state")
    return {
        "state": {f"{event['type']}|{event['state_key']}": event["event_id"] for event in state},
        **history(client, room),
        "account_data": data(view.get("account_data", {})),
        "receipts": receipts(view.get("ephemeral", {})),
        "unread": {key: view.get("unread_notifications", {}).get(key, 0)
                   for key in ("notification_count", "highlight_count")},
        "relations": relations(client, room),
        "threads": [event["event_id"] for event in client.get(
            f"/_matrix/client/v1/rooms/{q(room)}/threads", limit=PAGE, include="all")["chunk"]],
    }


def history(client: Client, room: str) -> dict:
    """All events that are shown to this user, and their order, newest first."""
    found, position = {}, {}
    while True:
        page = client.get(f"/rooms/{q(room)}/messages", dir="b", limit=PAGE, **position)
        found.update({f"{event['type']} {event['sender']} {event['event_id']}": {"content": content(event)}
                      for event in page["chunk"]})
        if not page["chunk"] or page.get("end") in (None, position.get("from")):
            return {"history": found, "order": list(found)}
        position = {"from": page["end"]}


def content(event: dict) -> dict:
    """Without what Synapse repeats there of redactions, for clients that look in the other place."""
    return {key: value for key, value in event["content"].items() if key != "redacts"}


def relations(client: Client, room: str) -> dict:
    """What relates to each event that has a relation or a reply, as far as the newest page goes."""
    page = client.get(f"/rooms/{q(room)}/messages", dir="b", limit=PAGE)["chunk"]
    targets = {related(event) for event in page} - {None}
    found = {}
    for target in sorted(targets):
        path = f"/_matrix/client/v1/rooms/{q(room)}/relations/{q(target)}"
        found[target] = sorted(event["event_id"] for event in attempt(client, path, limit=PAGE).get("chunk", []))
    return found


def related(event: dict) -> str | None:
    relation = event["content"].get("m.relates_to", {})
    return relation.get("event_id") or relation.get("m.in_reply_to", {}).get("event_id")


def search(client: Client, word: str) -> list[str]:
    criteria = {"search_term": word, "order_by": "recent", "keys": ["content.body"],
                "filter": {"limit": PAGE}}
    answer = client.post("/search", search_categories={"room_events": criteria})["search_categories"]["room_events"]
    return sorted(found["result"]["event_id"] for found in answer.get("results", []))


def stripped(view: dict) -> dict:
    return {f"{event['type']}|{event['state_key']}": event["content"] for event in view["events"]}


def data(view: dict) -> dict:
    found = {event["type"]: event["content"] for event in view.get("events", [])}
    if "m.push_rules" in found:
        found["m.push_rules"] = {"global": rules(found["m.push_rules"]["global"])}
    return found


def rules(kinds: dict[str, list[dict]]) -> dict:
    """Push rules by their ids, and their order."""
    named = PUSH_RULES | {kind for kind, ordered in kinds.items() if ordered}
    lists = {kind: {rule["rule_id"]: rule for rule in kinds.get(kind, [])} for kind in named}
    return {kind: rules | {"order": list(rules)} for kind, rules in lists.items()}


def receipts(view: dict) -> dict:
    found = {}
    for event in view.get("events", []):
        if event["type"] == "m.receipt":
            for event_id, kinds in event["content"].items():
                for kind, users in kinds.items():
                    for user, receipt in users.items():
                        found[f"{kind}|{user}|{receipt.get('thread_id', '')}"] = event_id
    return found


def keys(client: Client, users: list[str]) -> dict:
    answer = client.post("/keys/query", device_keys={user: [] for user in users})
    answer.pop("failures", None)
    for devices in answer.get("device_keys", {}).values():
        for device in devices.values():
            device.pop("unsigned", None)
    return answer


def backup(client: Client) -> dict:
    version = attempt(client, "/room_keys/version")
    if "version" not in version:
        return version
    held = client.get("/room_keys/keys", version=version["version"])
    return {key: version[key] for key in ("algorithm", "auth_data", "version", "count")} | held


def attempt(client: Client, path: str, **params) -> dict:
    """An answer, or the code of its error."""
    try:
        return client.get(path, **params)
    except Refused as refused:
        return {"errcode": refused.body.get("errcode", refused.status)}


def write(lab: Notes, homeserver: str | None, output: Path) -> None:
    output.write_text(json.dumps(take(lab, homeserver), indent=1, ensure_ascii=False, sort_keys=True))
