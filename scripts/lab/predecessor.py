"""A patched Conduit in front of the Synapse that it replaced: passwords, soft logout, old keys, missing files."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import requests

import conduit
from api import TIMEOUT_SECONDS, Client, Refused
from notes import Notes

OLD_KEY = "ed25519:given_up"
# The public key of the Matrix specification's test vectors.
OLD_KEY_BASE64 = "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI"
EXPIRED = 1_600_000_000_000


def try_out(lab: Notes, binary: Path, database: Path, database_by_api: Path) -> None:
    """Synapse runs; after `expire`, the databases were made from its database and from its APIs. Raises at what is wrong."""
    with running(lab, binary, database) as base_url:
        password(lab, base_url, "ada")
        confirmation(lab, base_url, "ben")
        old_keys(base_url)
        missing_file(lab, base_url)
        renewal(lab, base_url)
    with running(lab, binary, database, url=None) as base_url:
        password(lab, base_url, "ada")
        say("without Synapse: ada's password still works")
        expect_refusal(401, lambda: Client(base_url).post("/refresh", refresh_token="syr_unknown"))
    with running(lab, binary, database_by_api) as base_url:
        soft_logout(lab, base_url, "ada")


@contextlib.contextmanager
def running(lab: Notes, binary: Path, database: Path, url: str | None = "") -> Iterator[str]:
    """The Conduit with Synapse as its predecessor, or (`None`) with the configuration for the time after it."""
    section = ["[global.predecessor]", f'password_pepper = "{lab["pepper"]}"']
    if url is not None:
        section.append(f'url = "{lab["base_url"]}"')
    section += [f'[global.predecessor.old_verify_keys."{OLD_KEY}"]', f'key = "{OLD_KEY_BASE64}"', f"expired_ts = {EXPIRED}"]
    with conduit.running(lab, binary, database, section, federation=True) as base_url:
        yield base_url


def login(base_url: str, name: str, word: str, **more) -> dict:
    return Client(base_url).post("/login", type="m.login.password", password=word,
                                 identifier={"type": "m.id.user", "user": name}, **more)


def password(lab: Notes, base_url: str, name: str) -> None:
    expect_refusal(403, lambda: login(base_url, name, "wrong"))
    session = login(base_url, name, lab["users"][name]["password"])
    assert Client(base_url, session["access_token"]).get("/account/whoami")["device_id"] == session["device_id"]
    Client(base_url, session["access_token"]).post("/logout")
    say(f"{name} logs in with the password of before, and not with another")


def confirmation(lab: Notes, base_url: str, name: str) -> None:
    """A device is deleted with the password as confirmation, before any login has renewed the hash."""
    user = lab["users"][name]
    first, last = user["devices"][0], user["devices"][-1]
    client = Client(base_url, first["access_token"])

    def delete(word: str) -> None:
        try:
            client.post("/delete_devices", devices=[last["device_id"]])
        except Refused as refused:
            session = refused.body["session"]
        client.post("/delete_devices", devices=[last["device_id"]], auth={
            "type": "m.login.password", "session": session, "password": word,
            "identifier": {"type": "m.id.user", "user": user["user_id"]}})

    expect_refusal(401, lambda: delete("wrong"))
    delete(user["password"])
    left = {device["device_id"] for device in client.get("/devices")["devices"]}
    assert last["device_id"] not in left and first["device_id"] in left, left
    say(f"{name} deletes a device with the password of before")
    refused = expect_refusal(401, lambda: Client(base_url, last["access_token"]).get("/account/whoami"))
    assert not refused.body.get("soft_logout"), refused.body
    say("the deleted device is told to forget its keys")


def expire(lab: Notes) -> None:
    """Ben logs in on Synapse with a client that wants a token that expires."""
    lab["expiring"] = login(lab["base_url"], "ben", lab["users"]["ben"]["password"], refresh_token=True)
    assert lab["expiring"]["expires_in_ms"] > 0, lab["expiring"]
    lab.save()


def renewal(lab: Notes, base_url: str) -> None:
    session = lab["expiring"]
    expect_refusal(401, lambda: Client(base_url, session["access_token"]).get("/account/whoami"))

    def refresh(token: str) -> dict:
        return Client(base_url).post("/refresh", refresh_token=token)

    renewed = refresh(session["refresh_token"])
    assert "expires_in_ms" not in renewed and "refresh_token" not in renewed, renewed.keys()
    owner = Client(base_url, renewed["access_token"]).get("/account/whoami")
    assert (owner["user_id"], owner["device_id"]) == (session["user_id"], session["device_id"]), owner
    for token in [session["refresh_token"], "syr_unknown"]:
        refused = expect_refusal(401, lambda token=token: refresh(token))
        assert refused.body["errcode"] == "M_UNKNOWN_TOKEN" and refused.body["soft_logout"] is True, refused.body
    assert Client(base_url, renewed["access_token"]).get("/account/whoami") == owner
    Client(base_url, renewed["access_token"]).post("/logout")
    say("a session whose token would have expired is renewed, for good")


def old_keys(base_url: str) -> None:
    keys = requests.get(base_url + "/_matrix/key/v2/server", timeout=TIMEOUT_SECONDS).json()
    expected = {OLD_KEY: {"key": OLD_KEY_BASE64, "expired_ts": EXPIRED}}
    assert keys["old_verify_keys"] == expected, keys
    assert keys["signatures"], keys
    say("old signing keys are published")


def missing_file(lab: Notes, base_url: str) -> None:
    """What is uploaded to Synapse now was in no dump."""
    user = lab["users"]["ada"]
    token = user["devices"][0]["access_token"]
    content = secrets.token_bytes(100_000)
    mxc = Client(lab["base_url"], token).upload(content, "application/x-secret", "späť.bin").removeprefix("mxc://")
    server, media_id = mxc.split("/")
    path = f"{base_url}/_matrix/client/v1/media/download/{server}/"
    headers = {"Authorization": f"Bearer {token}"}
    for _ in range(2):
        answer = requests.get(path + media_id, headers=headers, timeout=TIMEOUT_SECONDS)
        assert answer.ok and answer.content == content, answer.status_code
        assert answer.headers["Content-Type"] == "application/x-secret", answer.headers
        assert "sp%C3%A4%C5%A5.bin" in answer.headers["Content-Disposition"], answer.headers
    assert requests.get(path + "nosuchfile", headers=headers, timeout=TIMEOUT_SECONDS).status_code == 404
    assert requests.get(f"{base_url}/_matrix/media/v3/download/{server}/{media_id}", timeout=TIMEOUT_SECONDS).status_code == 404
    say("a file that is missing comes from Synapse, for those who are logged in")


def soft_logout(lab: Notes, base_url: str, name: str) -> None:
    """By API, devices come without tokens and hashes are not known."""
    user = lab["users"][name]
    device = user["devices"][0]
    old = Client(base_url, device["access_token"])
    refused = expect_refusal(401, lambda: old.get("/account/whoami"))
    assert refused.body.get("soft_logout") is True, refused.body
    refused = expect_refusal(401, lambda: Client(base_url, "nonsense").get("/account/whoami"))
    assert not refused.body.get("soft_logout"), refused.body
    expect_refusal(403, lambda: login(base_url, name, "wrong"))
    sessions = len(synapse_devices(lab, name))
    session = login(base_url, name, user["password"], device_id=device["device_id"])
    assert session["device_id"] == device["device_id"], session
    assert len(synapse_devices(lab, name)) == sessions, "the session that checked the password is still there"
    new = Client(base_url, session["access_token"])
    assert new.get("/account/whoami")["device_id"] == device["device_id"]
    names = {one["device_id"]: one.get("display_name") for one in new.get("/devices")["devices"]}
    assert len(names) == len(user["devices"]), names
    say(f"{name}'s device is logged out softly, and logs in again under its id; Synapse checked the password")


def synapse_devices(lab: Notes, name: str) -> list:
    token = lab["users"][name]["devices"][0]["access_token"]
    return Client(lab["base_url"], token).get("/devices")["devices"]


def expect_refusal(status: int, call) -> Refused:
    try:
        call()
    except Refused as refused:
        assert refused.status == status, refused
        return refused
    raise AssertionError("not refused")


def say(text: str) -> None:
    print(f"ok: {text}")

