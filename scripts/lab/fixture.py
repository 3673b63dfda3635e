"""A database that a real Continuwuity wrote: it is filled through its own APIs and the commands of its administrators."""

import json
import re
import secrets
import time
from pathlib import Path

import bridge
import conduit
import crypto
import neighbour
import people
import rooms
from api import Client, Refused, q
from notes import Notes
from people import Family, picture

SERVER_NAME = "lab.test"
COLOR = re.compile(r"\x1b\[[\d;]*m")
# People to whom an administrator does something.
WARDS = {"lou": "Locked Lou", "sue": "Suspended Sue", "nora": "Nora"}
PATIENCE_SECONDS = 20
OAUTH = "/_continuwuity/oauth2/"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def make(lab: Notes, binary: Path, database: Path) -> None:
    """Starts it on an empty directory, fills it, and stops it. Then once more, as what is due at the start is written there."""
    lab.dir.mkdir(parents=True, exist_ok=True)
    lab |= {"server_name": SERVER_NAME, "registration_secret": secrets.token_hex(16), "invitation": secrets.token_hex(8)}
    bridge.register(lab)
    settings = [f'registration_token = "{lab["invitation"]}"', *neighbour.SETTINGS]
    with conduit.running(lab, binary, database, settings, federation=True) as base_url:
        lab["base_url"] = base_url
        family = register(lab, first_token(database))
        with neighbour.running(lab) as olga:
            tell(family, olga)
    with conduit.running(lab, binary, database, settings):
        pass
    print(f"{len(lab['users'])} users, {len(lab['rooms'])} rooms")


def first_token(database: Path) -> str:
    """The token for the first account, which it prints at its start."""
    log = database.with_suffix(".log")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = re.search(r"registration token (\w+)", COLOR.sub("", log.read_text()))
        if found:
            return found[1]
        time.sleep(0.1)
    raise SystemExit(f"no token for the first account in {log}")


def tell(family: Family, olga: Client) -> None:
    office = Office(family)
    office.appservice()
    people.profiles(family)
    rooms.every_version(family, [str(version) for version in range(conduit.OLDEST_ROOM_VERSION, 13)])
    for part in (rooms.home, rooms.public, rooms.comings_and_goings, rooms.many_messages, rooms.spaces, rooms.upgraded,
                 ghosts, crypto.secrets_of, people.settings, rooms.fishing, uploads, extras):
        part(family)
    neighbour.tell(family, olga)
    looks(family)
    for part in (wards, oauth_session):
        part(family, office)
    family.lab.save()


def register(lab: Notes, token: str) -> Family:
    """Registers everybody, the administrator with the first token, and logs each device in."""
    nobody = Client(lab["base_url"])
    lab["users"], lab["rooms"] = {}, {}
    everybody = people.FAMILY | {name: (display_name, ["Phone"]) for name, display_name in WARDS.items()}
    for name, (display_name, devices) in everybody.items():
        password = f"pw-{name}"
        with_token(nobody, "/register", token, {"username": name, "password": password, "inhibit_login": True})
        token = lab["invitation"]
        logins = []
        for device in devices:
            login = nobody.post("/login", type="m.login.password", password=password,
                                identifier={"type": "m.id.user", "user": name}, initial_device_display_name=device)
            logins.append({"device_id": login["device_id"], "access_token": login["access_token"]})
        lab["users"][name] = {"user_id": f"@{name}:{lab['server_name']}", "password": password, "devices": logins}
    family = Family(lab)
    for name, (display_name, _) in everybody.items():
        if display_name:
            family[name].put(f"/profile/{q(family.id(name))}/displayname", displayname=display_name)
    return family


def with_token(client: Client, path: str, token: str, body: dict) -> dict:
    try:
        return client.post(path, **body)
    except Refused as refused:
        auth = {"type": "m.login.registration_token", "token": token, "session": refused.body["session"]}
        return client.post(path, auth=auth, **body)


class Office:
    """The room for administrators, as Ada uses it."""

    def __init__(self, family: Family):
        self.family, self.ada = family, family["ada"]
        self.room = self.ada.get(f"/directory/room/{q(f'#admins:{SERVER_NAME}')}")["room_id"]
        if self.room not in self.ada.get("/joined_rooms")["joined_rooms"]:
            self.ada.join(self.room)

    def order(self, command: str, more: str = "") -> str:
        """Gives a command, waits until it is answered, and returns the answer."""
        asked = self.ada.say(self.room, f"!admin {command}{more}")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            page = self.ada.get(f"/rooms/{q(self.room)}/messages", dir="b", limit=10)["chunk"]
            for event in page:
                if event["content"].get("m.relates_to", {}).get("m.in_reply_to", {}).get("event_id") == asked:
                    answer = event["content"]["body"]
                    if "failed with error" in answer:
                        raise SystemExit(f"{command}: {answer}")
                    return answer
            time.sleep(0.1)
        raise SystemExit(f"no answer to {command!r}")

    def appservice(self) -> None:
        registration = Path(self.family.lab["bridge"]).read_text()
        self.order("appservices register", f"\n```\n{registration}```")


def ghosts(family: Family) -> None:
    """The bridge's own account is there since it was registered."""
    bridge.tell(family, (bridge.GHOST, "bridge_idle"))


def uploads(family: Family) -> None:
    """Files with names and without, and thumbnails."""
    ada, ben = family["ada"], family["ben"]
    large = ada.upload(picture(10, 160, 90, 400, 300), "image/png", "Garten 🌻.png")
    ben.upload("Grüße\n".encode(), "text/plain", "Grüße.txt")
    ben.upload(b"\0\1\2", "application/octet-stream", "")
    ada.upload(b"odd", "text/plain", "tab\there \"quoted\" ../../etc/passwd")
    ada.upload(b"odd type", "not a type at all", "odd")
    for width, height, method in [(32, 32, "crop"), (320, 240, "scale")]:
        path = f"/_matrix/client/v1/media/thumbnail/{large.removeprefix('mxc://')}"
        ada.http.get(ada.base_url + path, params={"width": width, "height": height, "method": method}).raise_for_status()


def extras(family: Family) -> None:
    """What the other stories don't have."""
    ada, ben, cleo = (family[name] for name in ("ada", "ben", "cleo"))
    ada.call("PUT", f"/profile/{q(ada.user_id)}/m.tz", {"m.tz": "Europe/Berlin"})
    ada.call("PUT", f"/profile/{q(ada.user_id)}/test.family.pets", {"test.family.pets": ["cat", {"name": "Mia"}]})
    cleo.put(f"/presence/{q(cleo.user_id)}/status", presence="unavailable", status_msg="Lunch 🍜")
    ben.post(f"/user/{q(ben.user_id)}/openid/request_token")
    crypto.with_auth(ben, family.lab["users"]["ben"]["password"], "/_matrix/client/v1/login/get_token", {})
    device = crypto.Device(Client(ada.base_url, ada.token, ada.user_id, "DEHYDRATED"))
    keys = device.sign({"user_id": ada.user_id, "device_id": "DEHYDRATED", "algorithms": [crypto.OLM, crypto.MEGOLM],
                        "keys": {"curve25519:DEHYDRATED": device.curve, "ed25519:DEHYDRATED": device.ed}})
    ada.put("/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device", device_id="DEHYDRATED", device_keys=keys,
            initial_device_display_name="Dehydrated", device_data={"algorithm": "org.matrix.msc3814.v2", "device_pickle": "AAAA",
                                                                   "nonce": "AAAA"})
    ada.put(f"/sendToDevice/test.family.ping/{ada.next_transaction()}",
            messages={ben.user_id: {family.devices["ben"][1].device_id: {"ping": 1}}})
    ben.delete(f"/directory/room/{q(f'#street2:{SERVER_NAME}')}")


def looks(family: Family) -> None:
    """Everybody syncs, twice, and with members loaded lazily."""
    lazy = json.dumps({"room": {"state": {"lazy_load_members": True}}})
    for client in family.values():
        since = client.get("/sync", timeout=0, filter=lazy)["next_batch"]
        client.get("/sync", timeout=0, filter=lazy, since=since)


def wards(family: Family, office: Office) -> None:
    """What administrators do to accounts and rooms."""
    empty, public = (family.lab["rooms"][name]["room_id"] for name in ("empty", "public"))
    # A ghost's own room, which other servers can't come to.
    harbour = family.lab["rooms"]["bridged"]["room_id"]
    for command in (
        "users suspend @sue:lab.test", "users lock @lou:lab.test", "users disable-login @nora:lab.test",
        "users change-email @ben:lab.test ben@example.org", "users deactivate @gus:lab.test",
        "users put-room-tag @hana:lab.test " + public + " m.server_notice",
        "token issue --max-uses 3", "token issue --max-age 7d", "token issue --immortal",
        f"rooms moderation ban-room {empty}", f"federation disable-room {harbour}",
    ):
        office.order(command)
    family.lab["users"]["gus"]["devices"] = []


def oauth_session(family: Family, _office: Office) -> None:
    """Hana logs in with a client that knows OAuth only, by a code that she confirms in a browser."""
    hana = family["hana"]
    metadata = {"client_name": "Family app", "client_uri": "https://app.family.test/", "grant_types": [GRANT, "refresh_token"],
                "redirect_uris": [], "response_types": [], "application_type": "native", "token_endpoint_auth_method": "none"}
    client_id = hana.call("POST", OAUTH + "client/register", metadata)["client_id"]
    browser = Client(hana.base_url)
    browser.http.headers.update({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"})

    def form(path: str, **fields) -> dict:
        answer = browser.http.post(browser.base_url + path, data=fields, allow_redirects=False)
        if answer.status_code >= 400:
            raise Refused("POST", path, answer)
        # They are for TLS only, but there is none here.
        if "Set-Cookie" in answer.headers:
            browser.http.headers["Cookie"] = answer.headers["Set-Cookie"].partition(";")[0]
        return answer.json() if answer.headers.get("Content-Type") == "application/json" else {}

    scope = "urn:matrix:client:api:* urn:matrix:client:device:OAUTHDEVICE"
    code = form(OAUTH + "device", client_id=client_id, scope=scope)["device_code"]
    form("/_continuwuity/account/login", identifier="hana", password=family.lab["users"]["hana"]["password"])
    form(OAUTH + "grant/device_code", stage="confirm", device_code=code)
    form(OAUTH + "grant/token", grant_type=GRANT, client_id=client_id, device_code=code)
