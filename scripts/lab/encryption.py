"""Real clients before and after the move: matrix-nio with its own stores, and what it lacks by hand.

Iris and Jack write to each other on Synapse; Jack goes offline, and Iris writes on under a new key. After the move both come
back with their old stores and tokens. `devices.json` has Ada and Ben, who use Olm by hand (`crypto.py`): a claimed key, a
pending room key, cross-signing, a key backup.
"""

import asyncio
import json

from nio import AsyncClient, AsyncClientConfig, RoomMessageText, RoomSendResponse, SyncResponse
from signedjson.key import decode_verify_key_bytes
from signedjson.sign import SignatureVerifyException, verify_signed_json
from unpaddedbase64 import decode_base64
from vodozemac import (Account, AnyOlmMessage, Curve25519PublicKey, ExportedSessionKey, InboundGroupSession,
                       MegolmMessage, Message, PkDecryption, SessionKey)

import crypto
from api import Client, q
from notes import Notes
from people import Family

BEFORE = ["Are you there? 🐟", "Here I am 🐙"]
PENDING = "Written while you were away 🐢"


class Chatter:
    """A matrix-nio client on a store of its own, which outlives it."""

    def __init__(self, lab: Notes, name: str, base_url: str):
        user = lab["users"][name]
        device = user["devices"][0]
        store = lab.dir / "stores" / name
        store.mkdir(parents=True, exist_ok=True, mode=0o700)
        config = AsyncClientConfig(store_sync_tokens=True, pickle_key=lab["registration_secret"])
        self.nio = AsyncClient(base_url, user["user_id"], device["device_id"], str(store), config)
        self.nio.restore_login(user["user_id"], device["device_id"], device["access_token"])

    async def __aenter__(self) -> "Chatter":
        return self

    async def __aexit__(self, *_error) -> None:
        await self.nio.close()

    async def sync(self) -> SyncResponse:
        """Syncs and does what a client does next: uploads its keys, asks for those that changed."""
        seen = await self.nio.sync(timeout=0)
        if not isinstance(seen, SyncResponse):
            raise SystemExit(f"{self.nio.user_id}: {seen}")
        if self.nio.should_upload_keys:
            await self.nio.keys_upload()
        if self.nio.should_query_keys:
            await self.nio.keys_query()
        return seen

    async def say(self, room: str, text: str) -> None:
        content = {"msgtype": "m.text", "body": text}
        sent = await self.nio.room_send(room, "m.room.message", content, ignore_unverified_devices=True)
        if not isinstance(sent, RoomSendResponse):
            raise SystemExit(f"{self.nio.user_id}: {sent}")

    def trusted(self, other: "Chatter") -> bool:
        device = self.nio.device_store[other.nio.user_id][other.nio.device_id]
        return device.verified and device.ed25519 == other.nio.olm.account.identity_keys["ed25519"]


def texts(seen: SyncResponse, room: str) -> list[str]:
    """What could be decrypted in a room."""
    info = seen.rooms.join.get(room)
    return [event.body for event in info.timeline.events if isinstance(event, RoomMessageText) and event.decrypted] \
        if info else []


def talk(family: Family) -> None:
    """On Synapse."""
    room = crypto.encrypted_room(family, "iris", "jack", "chat")
    asyncio.run(talk_in(family.lab, room))
    family.lab["chat"] = room


async def talk_in(lab: Notes, room: str) -> None:
    async with Chatter(lab, "iris", lab["base_url"]) as iris, Chatter(lab, "jack", lab["base_url"]) as jack:
        for chatter in (iris, jack, iris, jack):
            await chatter.sync()
        iris.nio.verify_device(iris.nio.device_store[jack.nio.user_id][jack.nio.device_id])
        await iris.say(room, BEFORE[0])
        check([BEFORE[0] in texts(await jack.sync(), room)], "jack reads on Synapse")
        await jack.say(room, BEFORE[1])
        check([BEFORE[1] in texts(await iris.sync(), room)], "iris reads on Synapse")
    async with Chatter(lab, "iris", lab["base_url"]) as iris:
        await iris.nio.sync(timeout=0, full_state=True)
        await iris.sync()
        iris.nio.invalidate_outbound_session(room)
        await iris.say(room, PENDING)


def go_on(lab: Notes, base_url: str, has_device_lists: bool) -> int:
    """On the new server; returns how much went wrong. `has_device_lists`: its first answer to /sync names people whose keys are
    to be asked for."""
    results = asyncio.run(chat_on(lab, base_url, has_device_lists)) | by_hand(lab, base_url)
    for what, good in results.items():
        print(f"{'ok' if good else 'FAILED'}: {what}")
    return sum(not good for good in results.values())


async def chat_on(lab: Notes, base_url: str, has_device_lists: bool) -> dict[str, bool]:
    room, done = lab["chat"], {}
    async with Chatter(lab, "iris", base_url) as iris, Chatter(lab, "jack", base_url) as jack:
        identity = dict(jack.nio.olm.account.identity_keys)
        old_token = jack.nio.loaded_sync_token
        seen = await jack.sync()
        done["jack comes back with Synapse's sync token"] = old_token.startswith("s") and not seen.next_batch.startswith("s")
        done["jack reads what was written while he was away, with the key that waited for him"] = PENDING in texts(seen, room)
        if has_device_lists:
            done["jack is told to ask for the keys of both again"] = {iris.nio.user_id, jack.nio.user_id} <= set(seen.device_list.changed)
        done["jack's client has the account that it had"] = identity == dict(jack.nio.olm.account.identity_keys)
        again = await jack.sync()
        done["what waited is delivered once"] = not again.to_device_events
        await iris.sync()
        done["iris still trusts jack's device, whose keys are the same"] = iris.trusted(jack)
        for speaker, reader in ((iris, jack), (jack, iris)):
            for text in ("Hello from Conduit 🦀", "And under a new key 🔑"):
                await speaker.say(room, text)
                done[f"{reader.nio.user_id} reads {text!r}"] = text in texts(await reader.sync(), room)
                speaker.nio.invalidate_outbound_session(room)
    return done


def by_hand(lab: Notes, base_url: str) -> dict[str, bool]:
    """Ada and Ben."""
    kept = json.loads((lab.dir / "devices.json").read_text())
    pickle_key, message = decode_base64(kept["pickle_key"]), kept["message"]
    family = Family(lab, base_url)
    tablet, (ada, ben) = family.devices["ada"][2], (crypto.Device(family[name], Account.from_pickle(kept[name], pickle_key))
                                                   for name in ("ada", "ben"))
    room = message["room_id"]
    event = tablet.get(f"/rooms/{q(room)}/event/{q(message['event_id'])}")
    done = {}

    waiting = ben.client.get("/sync", timeout=0)["to_device"]["events"]
    [key] = [plain["content"] for plain in decrypted(ben, waiting) if plain["type"] == "m.room_key"]
    session = InboundGroupSession(SessionKey(key["session_key"]))
    done["ben's room key arrives and opens the message"] = read(session, event) == message["text"]
    done["the key backup opens the message on a third device"] = read(restored(tablet, message), event) == message["text"]
    done["one-time keys that were claimed are gone, the others are there"] = one_time_keys(ada, ben, kept["claimed"])
    done["signatures of own devices, own keys and of ben by ada hold"] = signatures(family)
    return done


def decrypted(device: crypto.Device, events: list[dict]) -> list[dict]:
    """Olm messages that begin a session."""
    plain = []
    for event in events:
        sealed = event["content"]["ciphertext"][device.curve]
        sealed = AnyOlmMessage.from_parts(sealed["type"], decode_base64(sealed["body"])).to_pre_key()
        sender = Curve25519PublicKey.from_base64(event["content"]["sender_key"])
        _, text = device.account.create_inbound_session(sender, sealed)
        plain.append(json.loads(text))
    return plain


def read(session: InboundGroupSession, event: dict) -> str:
    sealed = MegolmMessage.from_base64(event["content"]["ciphertext"])
    return json.loads(session.decrypt(sealed).plaintext)["content"]["body"]


def restored(client: Client, message: dict) -> InboundGroupSession:
    """The session of the newest backup."""
    version = client.get("/room_keys/version")
    if version["version"] != message["backup"]["version"] or version["count"] != 1:
        raise SystemExit(f"the key backup is another one: {version}")
    sessions = client.get(f"/room_keys/keys/{q(message['room_id'])}", version=version["version"])["sessions"]
    [sealed] = [session["session_data"] for session in sessions.values()]
    sealed = Message(*(decode_base64(sealed[part]) for part in ("ciphertext", "mac", "ephemeral")))
    key = PkDecryption.from_key(crypto.secret_key(message["backup"]["key"])).decrypt(sealed)
    return InboundGroupSession.import_session(ExportedSessionKey(json.loads(key)["session_key"]))


def one_time_keys(ada: crypto.Device, ben: crypto.Device, claimed: list[str]) -> bool:
    """Claims all of Ben's; the last one is used."""
    count = ben.client.get("/sync", timeout=0)["device_one_time_keys_count"]["signed_curve25519"]
    for _ in range(count - 1):
        claimed.append(ada.claim(ben)[0])
    since = ben.client.get("/sync", timeout=0)["next_batch"]
    ada.to_device(ben, "m.dummy", {})
    sync = ben.client.get("/sync", timeout=0, since=since)
    [plain] = decrypted(ben, sync["to_device"]["events"])
    left = sync.get("device_one_time_keys_count", {}).get("signed_curve25519", 0)
    return plain["type"] == "m.dummy" and count == crypto.ONE_TIME_KEYS - 1 and left == 0 \
        and len(set(claimed)) == len(claimed)


def signatures(family: Family) -> bool:
    """Verifies what Ada sees: her master key signs her other two, those sign her device and Ben's master key."""
    ada, ben = family.id("ada"), family.id("ben")
    seen = family["ada"].post("/keys/query", device_keys={ada: [], ben: []})
    own = {usage: seen[f"{usage}_keys"][ada] for usage in ("master", "self_signing", "user_signing")}
    signed = [("master", own["self_signing"]), ("master", own["user_signing"]),
              ("self_signing", seen["device_keys"][ada][family["ada"].device_id]),
              ("user_signing", seen["master_keys"][ben])]
    try:
        for usage, value in signed:
            [(name, public)] = own[usage]["keys"].items()
            verify_signed_json(value, ada, decode_verify_key_bytes(name, decode_base64(public)))
    except SignatureVerifyException as error:
        print(error)
        return False
    return True


def check(results: list[bool], what: str) -> None:
    if not all(results):
        raise SystemExit(f"not so: {what}")
