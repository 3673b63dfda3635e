"""An application service: its registration, its users, and the end that receives transactions."""

import contextlib
import json
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import yaml
from api import Client
from notes import Notes
from people import Family
from synapse import free_port

GHOST, BOT = "bridge_gull", "bridgebot"


def register(lab: Notes) -> None:
    """Writes the registration, which Synapse's configuration names."""
    lab["bridge"] = str(lab.dir / "bridge.yaml")
    for token in ("as_token", "hs_token"):
        lab.setdefault(token, secrets.token_hex(16))
    lab.setdefault("bridge_port", free_port())
    registration = {
        "id": "bridge", "url": f"http://127.0.0.1:{lab['bridge_port']}", "as_token": lab["as_token"],
        "hs_token": lab["hs_token"], "sender_localpart": BOT, "rate_limited": False,
        "namespaces": {"users": [{"exclusive": True, "regex": "@bridge_.*"}], "aliases": [], "rooms": []},
    }
    (lab.dir / "bridge.yaml").write_text(yaml.safe_dump(registration))


def ghost(lab: Notes, base_url: str, localpart: str = GHOST) -> Client:
    """The service, acting as one of its users."""
    user = f"@{localpart}:{lab['server_name']}"
    client = Client(base_url, lab["as_token"], user)
    client.http.params = {"user_id": user}
    return client


def tell(family: Family, registers: tuple[str, ...] = (GHOST, "bridge_idle", BOT)) -> None:
    """A gull from another network talks in a room that the bridge made, after it has registered its users."""
    lab = family.lab
    for localpart in registers:
        nobody = Client(lab["base_url"], lab["as_token"])
        nobody.post("/register", type="m.login.application_service", username=localpart, inhibit_login=True)
    gull, bot = ghost(lab, lab["base_url"]), ghost(lab, lab["base_url"], BOT)
    gull.put(f"/profile/{quote(gull.user_id)}/displayname", displayname="Gull (bridged)")
    gull.account_data("test.bridge.state", since=5)
    room = bot.post("/createRoom", preset="private_chat", name="Harbour", room_version="10",
                    invite=[family.id("ada"), gull.user_id])["room_id"]
    family.room("bridged", room, "10")
    for client in (gull, family["ada"]):
        client.join(room)
    gull.say(room, "Kraa")
    family["ada"].say(room, "Hello, gull")


@contextlib.contextmanager
def receiver(lab: Notes) -> Iterator[list[dict]]:
    """The service's own end; yields the events that it is sent with the right token."""
    events = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if lab["hs_token"] in self.headers.get("Authorization", "") + self.path:
                events.extend(body.get("events", []))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_words) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", lab["bridge_port"]), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield events
    finally:
        server.shutdown()
        server.server_close()
