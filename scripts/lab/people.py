"""The family: who they are, what they log in with, and what they set for themselves."""

import hashlib
import hmac
import secrets
import struct
import zlib

from api import Client, q
from notes import Notes

# name: (display name, devices)
FAMILY = {
    "ada": ("Ada 👩‍💻", ["Laptop", "Phone", "Kitchen tablet"]),
    "ben": ("Ben", ["Phone 📱", "Old phone"]),
    "cleo": ("Cléo 🐈", ["Laptop"]),
    "dan": ("Dan \"the man\"", ["Phone", "Desktop"]),
    "eve": ("Eve", ["Phone"]),
    "finn": (None, ["Tablet"]),
    "gus": ("Grandpa Gus 👴🏽", ["Computer"]),
    "hana": ("はな", ["Phone"]),
    "iris": ("Iris", ["matrix-nio"]),
    "jack": ("Jack", ["matrix-nio"]),
    "kim": ("Kim 🌶", ["Phone"]),
}
ADMIN = "ada"


class Family(dict):
    """`name -> client of the first device`; `devices[name]` has all of them."""

    def __init__(self, lab: Notes, base_url: str | None = None):
        super().__init__()
        self.lab = lab
        self.devices: dict[str, list[Client]] = {}
        for name, user in lab.get("users", {}).items():
            self.devices[name] = [
                Client(base_url or lab["base_url"], device["access_token"], user["user_id"], device["device_id"])
                for device in user["devices"]
            ]
            if self.devices[name]:
                self[name] = self.devices[name][0]

    def id(self, name: str) -> str:
        return f"@{name}:{self.lab['server_name']}"

    def room(self, nickname: str, room_id: str, version: str) -> str:
        """Notes a room; returns its id."""
        self.lab["rooms"][nickname] = {"room_id": room_id, "version": version}
        return room_id


def register(lab: Notes) -> Family:
    """Registers everybody and logs each device in."""
    nobody = Client(lab["base_url"])
    lab["users"], lab["rooms"] = {}, {}
    for name, (display_name, devices) in FAMILY.items():
        password = secrets.token_urlsafe(9)
        register_one(lab, nobody, name, password, display_name)
        logins = []
        for device in devices:
            login = nobody.post("/login", type="m.login.password", password=password,
                                identifier={"type": "m.id.user", "user": name}, initial_device_display_name=device)
            logins.append({"device_id": login["device_id"], "access_token": login["access_token"]})
        lab["users"][name] = {"user_id": f"@{name}:{lab['server_name']}", "password": password, "devices": logins}
    token = lab["users"][ADMIN]["devices"][0]["access_token"]
    path = lab.dir / "admin.token"
    path.touch(mode=0o600)
    path.write_text(token + "\n")
    lab.save()
    return Family(lab)


def register_one(lab: Notes, nobody: Client, name: str, password: str, display_name: str | None) -> None:
    """Registers by the shared secret; this login's own device goes again, so that devices are only those named."""
    nonce = nobody.get("/_synapse/admin/v1/register")["nonce"]
    admin = name == ADMIN
    parts = [nonce, name, password, "admin" if admin else "notadmin"]
    mac = hmac.new(lab["registration_secret"].encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()
    made = nobody.post("/_synapse/admin/v1/register", nonce=nonce, username=name, password=password, admin=admin,
                       mac=mac, **({"displayname": display_name} if display_name else {}))
    Client(lab["base_url"], made["access_token"]).post("/logout")


def picture(red: int, green: int, blue: int, width: int = 64, height: int = 64) -> bytes:
    """A PNG of one color."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\0" + bytes((red, green, blue)) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def profiles(family: Family) -> None:
    for number, name in enumerate(["ada", "cleo", "hana"]):
        client = family[name]
        avatar = client.upload(picture(80 * number, 120, 200), "image/png", f"{name}.png")
        client.put(f"/profile/{q(client.user_id)}/avatar_url", avatar_url=avatar)
    # A display name set with no room yet, changed later in rooms (see `rooms.py`), and one taken away.
    family["finn"].put(f"/profile/{q(family.id('finn'))}/displayname", displayname="Finn 🦈")
    family["eve"].put(f"/profile/{q(family.id('eve'))}/displayname", displayname="Eve ✨")


def settings(family: Family) -> None:
    """Global account data, push rules, pushers and filters."""
    ada, ben, cleo, dan = (family[name] for name in ("ada", "ben", "cleo", "dan"))
    rooms = {nickname: room["room_id"] for nickname, room in family.lab["rooms"].items()}
    ada.account_data("m.direct", **{ben.user_id: [rooms["dm"]]})
    ben.account_data("m.direct", **{ada.user_id: [rooms["dm"]]})
    dan.account_data("m.ignored_user_list", ignored_users={family.id("eve"): {}})
    ada.account_data("test.family.settings", theme="dark 🌒", nested={"numbers": [1, 2, 3], "nothing": None})
    cleo.account_data("test.family.empty")
    ada.account_data("m.widgets", rooms["private"], list=[])
    ada.account_data("m.marked_unread", rooms["public"], unread=True)
    ben.account_data("com.famedly.marked_unread", rooms["private"], unread=True)
    cleo.account_data("test.family.large", text="🎈" * 15_000)
    ada.account_data("test.family.room_color", rooms["private"], color="#aabbcc")
    for client, room, tag, content in [
        (ada, "private", "m.favourite", {"order": 0.25}), (ada, "public", "m.lowpriority", {}),
        (ben, "private", "u.Kids & co", {"order": 0.5}),
    ]:
        client.call("PUT", f"/user/{q(client.user_id)}/rooms/{q(rooms[room])}/tags/{q(tag)}", content)
    push_rules(ada, ben, family.id("dan"), rooms)
    for client, key in [(ada, "ada-phone"), (ben, "ben-phone")]:
        client.post("/pushers/set", kind="http", app_id="test.family.app", app_display_name="Family app 📲",
                    device_display_name="Phone", pushkey=key, lang="en", append=False,
                    data={"url": "http://127.0.0.1:9/_matrix/push/v1/notify", "format": "event_id_only"})
    for client in (ada, ben):
        client.post(f"/user/{q(client.user_id)}/filter", room={"timeline": {"limit": 20}},
                    presence={"types": []})


def push_rules(ada: Client, ben: Client, dan: str, rooms: dict[str, str]) -> None:
    rule = "/pushrules/global/"
    ada.put(rule + "content/cake", pattern="cake", actions=["notify", {"set_tweak": "sound", "value": "default"}])
    ada.put(rule + f"room/{q(rooms['public'])}", actions=[])
    ada.put(rule + f"sender/{q(dan)}", actions=["notify"])
    ada.put(rule + "override/test.quiet.night", actions=[], conditions=[
        {"kind": "event_match", "key": "content.body", "pattern": "night*"},
        {"kind": "room_member_count", "is": ">2"}])
    ada.put(rule + "underride/test.loud", actions=["notify", {"set_tweak": "highlight"}],
            conditions=[{"kind": "event_match", "key": "type", "pattern": "test.family.loud"}])
    ben.put(rule + "override/.m.rule.suppress_notices/enabled", enabled=False)
    ben.put(rule + "override/.m.rule.master/enabled", enabled=False)
    ben.put(rule + "underride/.m.rule.message/actions", actions=["notify", {"set_tweak": "sound", "value": "ping"}])
    ben.put(rule + "content/pizza", pattern="pizza", actions=["notify"])
    ben.put(rule + "content/pizza/enabled", enabled=False)
