"""End-to-end encryption as clients do it: real Olm and Megolm, by `vodozemac`.

What a device would keep on its own disk is kept in `DIR/devices.json`, so that a test can go on as that device.
"""

import base64
import json
import os
import secrets

import nacl.signing
import signedjson.key
import signedjson.sign
from vodozemac import (Account, Curve25519PublicKey, Curve25519SecretKey, GroupSession, InboundGroupSession,
                       PkDecryption, PkEncryption)

from api import Client, Refused, q
from people import Family
from rooms import create, invite_and_join

OLM = "m.olm.v1.curve25519-aes-sha2"
MEGOLM = "m.megolm.v1.aes-sha2"
BACKUP = "m.megolm_backup.v1.curve25519-aes-sha2"
ONE_TIME_KEYS = 5
# Their keys are a real client's; see `encryption.py`.
CHATTERS = ("iris", "jack")


def unpadded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def canonical(value: dict) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


class Device:
    """A client's device with its Olm account."""

    def __init__(self, client: Client, account: Account | None = None):
        self.client, self.account = client, account or Account()
        self.curve = self.account.curve25519_key.to_base64()
        self.ed = self.account.ed25519_key.to_base64()

    def sign(self, value: dict) -> dict:
        signature = self.account.sign(canonical(value)).to_base64()
        return value | {"signatures": {self.client.user_id: {f"ed25519:{self.client.device_id}": signature}}}

    def publish(self) -> dict:
        """Uploads identity keys, one-time keys and a fallback key; returns the signed identity keys."""
        me, device = self.client.user_id, self.client.device_id
        keys = self.sign({"user_id": me, "device_id": device, "algorithms": [OLM, MEGOLM],
                          "keys": {f"curve25519:{device}": self.curve, f"ed25519:{device}": self.ed}})
        self.account.generate_one_time_keys(ONE_TIME_KEYS)
        once = {f"signed_curve25519:{name}": self.sign({"key": key.to_base64()})
                for name, key in self.account.one_time_keys.items()}
        self.account.generate_fallback_key()
        fallback = {f"signed_curve25519:{name}": self.sign({"key": key.to_base64(), "fallback": True})
                    for name, key in self.account.fallback_key.items()}
        self.client.post("/keys/upload", device_keys=keys, one_time_keys=once, fallback_keys=fallback)
        self.account.mark_keys_as_published()
        return keys

    def claim(self, other: "Device") -> tuple[str, dict]:
        """A one-time key of another device, with its name."""
        to, device = other.client.user_id, other.client.device_id
        claimed = self.client.post("/keys/claim", one_time_keys={to: {device: "signed_curve25519"}})
        [key] = claimed["one_time_keys"][to][device].items()
        return key

    def to_device(self, other: "Device", kind: str, content: dict) -> str:
        """Sends one event to a device, encrypted with Olm by a one-time key of its own, whose name it returns."""
        to, device = other.client.user_id, other.client.device_id
        name, key = self.claim(other)
        session = self.account.create_outbound_session(other.account.curve25519_key,
                                                       Curve25519PublicKey.from_base64(key["key"]))
        plain = {"type": kind, "content": content, "sender": self.client.user_id, "recipient": to,
                 "recipient_keys": {"ed25519": other.ed}, "keys": {"ed25519": self.ed}}
        message_type, ciphertext = session.encrypt(canonical(plain)).to_parts()
        content = {"algorithm": OLM, "sender_key": self.curve,
                   "ciphertext": {other.curve: {"type": message_type, "body": unpadded(ciphertext)}}}
        self.client.put(f"/sendToDevice/m.room.encrypted/{self.client.next_transaction()}",
                        messages={to: {device: content}})
        return name


class Identity:
    """A user's cross-signing keys."""

    def __init__(self, device: Device, password: str):
        self.device, self.keys = device, {}
        me = device.client.user_id
        self.private = {usage: nacl.signing.SigningKey.generate() for usage in ("master", "self_signing", "user_signing")}
        for usage, private in self.private.items():
            public = unpadded(bytes(private.verify_key))
            private.alg, private.version = "ed25519", public
            key = {"user_id": me, "usage": [usage], "keys": {f"ed25519:{public}": public}}
            self.keys[usage] = key if usage == "master" else self.sign("master", key)
        with_auth(device.client, password, "/keys/device_signing/upload",
                  {f"{usage}_key": key for usage, key in self.keys.items()})

    def sign(self, usage: str, value: dict) -> dict:
        value = json.loads(json.dumps(value))
        return signedjson.sign.sign_json(value, self.device.client.user_id, self.private[usage])

    def trust(self, usage: str, user_id: str, name: str, value: dict) -> None:
        """Uploads our signature of another key."""
        self.device.client.post("/keys/signatures/upload", **{user_id: {name: self.sign(usage, value)}})


def with_auth(client: Client, password: str, path: str, body: dict) -> None:
    """Posts, and again with the password if the server wants to be sure."""
    try:
        client.post(path, **body)
    except Refused as refused:
        if refused.status != 401:
            raise
        auth = {"type": "m.login.password", "password": password, "session": refused.body["session"],
                "identifier": {"type": "m.id.user", "user": client.user_id}}
        client.post(path, auth=auth, **body)


def secrets_of(family: Family) -> None:
    """Keys of every device, an encrypted room, a key on its way to a device that is offline, and a key backup."""
    users = family.lab["users"]
    devices = {name: [Device(client) for client in clients] for name, clients in family.devices.items()
               if name not in CHATTERS}
    published = {(name, n): device.publish() for name, own in devices.items() for n, device in enumerate(own)}
    identities = {}
    for name in ("ada", "ben"):
        identities[name] = Identity(devices[name][0], users[name]["password"])
        keys = published[name, 0]
        identities[name].trust("self_signing", keys["user_id"], keys["device_id"], keys)
    master = identities["ben"].keys["master"]
    identities["ada"].trust("user_signing", family.id("ben"), next(iter(master["keys"].values())), master)

    room = encrypted_room(family, "ada", "ben", "encrypted")
    ada, ben = devices["ada"][0], devices["ben"][0]
    session = GroupSession()
    key = {"algorithm": MEGOLM, "room_id": room, "session_id": session.session_id,
           "session_key": session.session_key.to_base64()}
    inbound = InboundGroupSession(session.session_key)
    text = "The cake is in the cellar 🤫"
    claimed = ada.to_device(ben, "m.room_key", key)
    event = say(ada, session, room, text)
    backup = back_up(ada, room, inbound)
    keep(family, ada, ben, claimed, {"room_id": room, "event_id": event, "text": text, "backup": backup})


def encrypted_room(family: Family, owner: str, guest: str, nickname: str) -> str:
    room = create(family, owner, nickname, name="Secrets 🤫", initial_state=[
        {"type": "m.room.encryption", "content": {"algorithm": MEGOLM}}])
    invite_and_join(family, room, owner, guest)
    return room


def say(device: Device, session: GroupSession, room: str, text: str) -> str:
    plain = {"type": "m.room.message", "room_id": room, "content": {"msgtype": "m.text", "body": text}}
    ciphertext = session.encrypt(canonical(plain)).to_base64()
    return device.client.send(room, "m.room.encrypted", algorithm=MEGOLM, sender_key=device.curve,
                              device_id=device.client.device_id, session_id=session.session_id,
                              ciphertext=ciphertext)


def back_up(device: Device, room: str, session: InboundGroupSession) -> dict:
    """A backup given up, and one in use with the session in it; returns how to read it."""
    for _ in range(2):
        reader = PkDecryption()
        auth = device.sign({"public_key": reader.public_key.to_base64()})
        version = device.client.post("/room_keys/version", algorithm=BACKUP, auth_data=auth)["version"]
    plain = {"algorithm": MEGOLM, "sender_key": device.curve, "sender_claimed_keys": {"ed25519": device.ed},
             "forwarding_curve25519_key_chain": [], "session_key": session.export_at(0).to_base64()}
    sealed = PkEncryption.from_key(reader.public_key).encrypt(canonical(plain))
    data = {"ephemeral": unpadded(sealed.ephemeral_key), "ciphertext": unpadded(sealed.ciphertext),
            "mac": unpadded(sealed.mac)}
    device.client.call("PUT", f"/room_keys/keys/{q(room)}/{q(session.session_id)}", {
        "first_message_index": 0, "forwarded_count": 0, "is_verified": True, "session_data": data,
    }, params={"version": version})
    return {"version": version, "key": reader.key.to_base64()}


def secret_key(text: str) -> Curve25519SecretKey:
    return Curve25519SecretKey.from_base64(text)


def keep(family: Family, ada: Device, ben: Device, claimed: str, message: dict) -> None:
    """Writes what the devices keep, and what Ben must be able to read after he comes back."""
    pickle_key = secrets.token_bytes(32)
    kept = {"pickle_key": unpadded(pickle_key), "message": message, "claimed": [claimed],
            "ada": ada.account.pickle(pickle_key), "ben": ben.account.pickle(pickle_key)}
    path = family.lab.dir / "devices.json"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        json.dump(kept, file, indent=1)
