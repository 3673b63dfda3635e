"""Events that don't follow the newest one: the other server's user speaks as if she had not heard what was said since."""

import hashlib
import secrets
import time
from base64 import b64encode, urlsafe_b64encode

import requests
import signedjson.key
import signedjson.sign
from api import TIMEOUT_SECONDS, Client, q
from canonicaljson import encode_canonical_json
from notes import Notes

SEND = "/_matrix/federation/v1/send/"


def say(lab: Notes, other: Notes, admin: Client, speaker: Client, room: str, after: str, text: str) -> str:
    """Hands our server alone a message that follows the event `after`; returns its id. The room's version is 4 to 10."""
    older = admin.get(f"/_synapse/admin/v1/fetch_event/{q(after)}")["event"]
    event_id, results = hand(lab, other, message(speaker, room, after, older["depth"] + 1, text))
    assert results == {event_id: {}}, results
    return event_id


def message(speaker: Client, room: str, after: str, depth: int, text: str) -> dict:
    """A message that follows the event `after`, allowed by the room's state as it is."""
    state = {(event["type"], event["state_key"]): event["event_id"] for event in speaker.get(f"/rooms/{q(room)}/state")}
    return {
        "type": "m.room.message", "room_id": room, "sender": speaker.user_id,
        "content": {"msgtype": "m.text", "body": text},
        "origin_server_ts": int(time.time() * 1000), "depth": depth, "prev_events": [after],
        "auth_events": [state["m.room.create", ""], state["m.room.power_levels", ""],
                        state["m.room.member", speaker.user_id]],
    }


def hand(lab: Notes, other: Notes, event: dict) -> tuple[str, dict]:
    """Hands our server alone a message of the other one; returns its id, and what our server says to it, by id."""
    event |= {"hashes": {"sha256": b64encode(digest(event)).decode().rstrip("=")}}
    # Of a message's keys, its redaction takes the content only; that is what is signed, and what makes the id.
    redacted = event | {"content": {}}
    event_id = "$" + urlsafe_b64encode(digest(redacted)).decode().rstrip("=")
    key = signing_key(other)
    event["signatures"] = signedjson.sign.sign_json(redacted, other["server_name"], key)["signatures"]
    return event_id, send(lab, other, key, event)["pdus"]


def digest(value: dict) -> bytes:
    return hashlib.sha256(encode_canonical_json(value)).digest()


def send(lab: Notes, other: Notes, key, event: dict) -> dict:
    """A transaction of the other server, signed as it would sign it."""
    origin, destination = other["server_name"], lab["server_name"]
    uri = SEND + secrets.token_hex(8)
    content = {"origin": origin, "origin_server_ts": event["origin_server_ts"], "pdus": [event]}
    return ask(lab["base_url"], destination, origin, key, "PUT", uri, content=content)


def signing_key(server: Notes):
    with open(server["signing_key"]) as file:
        return signedjson.key.read_signing_keys(file)[0]


def ask(base_url: str, destination: str, origin: str, key, method: str, uri: str, **content) -> dict:
    """A request of one server to another."""
    request = {"method": method, "uri": uri, "origin": origin, "destination": destination, **content}
    signed = signedjson.sign.sign_json(request, origin, key)
    (key_id, signature), = signed["signatures"][origin].items()
    header = f'X-Matrix origin="{origin}",destination="{destination}",key="{key_id}",sig="{signature}"'
    answer = requests.request(method, f"{base_url}{uri}", json=content.get("content"), timeout=TIMEOUT_SECONDS,
                              headers={"Authorization": header})
    answer.raise_for_status()
    return answer.json()
