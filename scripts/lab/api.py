"""A thin client: one method per HTTP method, errors raised with what the server said."""

import itertools
import secrets
from urllib.parse import quote

import requests

CLIENT = "/_matrix/client/v3"
TIMEOUT_SECONDS = 60


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, method: str, path: str, answer: requests.Response):
        super().__init__(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        self.status = answer.status_code
        try:
            self.body = answer.json()
        except requests.JSONDecodeError:
            self.body = {}


class Client:
    """A device of a user, or nobody if there is no token."""

    def __init__(self, base_url: str, token: str | None = None, user_id: str = "", device_id: str = ""):
        self.base_url, self.token, self.user_id, self.device_id = base_url, token, user_id, device_id
        self.http = requests.Session()
        self.http.trust_env = False
        if token:
            self.http.headers["Authorization"] = f"Bearer {token}"
        # A server takes a second request of a device with the same name for the first one.
        name = secrets.token_hex(4)
        self.transactions = (f"lab{name}-{number}" for number in itertools.count(1))

    def call(self, method: str, path: str, json=None, **options):
        """`path` is below the client API unless it starts with `/_`."""
        if not path.startswith("/_"):
            path = CLIENT + path
        answer = self.http.request(method, self.base_url + path, json=json, timeout=TIMEOUT_SECONDS, **options)
        if not answer.ok:
            raise Refused(method, path, answer)
        return answer.json()

    def get(self, path: str, **params):
        return self.call("GET", path, params=params)

    def post(self, path: str, **body):
        return self.call("POST", path, body)

    def put(self, path: str, **body):
        return self.call("PUT", path, body)

    def delete(self, path: str):
        return self.call("DELETE", path)

    # The few calls that every story repeats.

    def next_transaction(self) -> str:
        return next(self.transactions)

    def send(self, room: str, kind: str, **content) -> str:
        path = f"/rooms/{q(room)}/send/{kind}/{self.next_transaction()}"
        return self.call("PUT", path, content)["event_id"]

    def say(self, room: str, text: str, **more) -> str:
        return self.send(room, "m.room.message", msgtype="m.text", body=text, **more)

    def state(self, room: str, kind: str, key: str = "", **content) -> str:
        return self.call("PUT", f"/rooms/{q(room)}/state/{kind}/{q(key)}", content)["event_id"]

    def redact(self, room: str, event: str, **content) -> str:
        path = f"/rooms/{q(room)}/redact/{q(event)}/{self.next_transaction()}"
        return self.call("PUT", path, content)["event_id"]

    def invite(self, room: str, user_id: str) -> None:
        self.post(f"/rooms/{q(room)}/invite", user_id=user_id)

    def join(self, room: str) -> None:
        self.post(f"/join/{q(room)}")

    def leave(self, room: str) -> None:
        self.post(f"/rooms/{q(room)}/leave")

    def account_data(self, kind: str, room: str | None = None, **content) -> None:
        where = f"/rooms/{q(room)}" if room else ""
        self.call("PUT", f"/user/{q(self.user_id)}{where}/account_data/{kind}", content)

    def upload(self, data: bytes, kind: str, name: str) -> str:
        answer = self.http.post(self.base_url + "/_matrix/media/v3/upload", data=data, params={"filename": name},
                                headers={"Content-Type": kind}, timeout=TIMEOUT_SECONDS)
        if not answer.ok:
            raise Refused("POST", "/_matrix/media/v3/upload", answer)
        return answer.json()["content_uri"]


def q(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="")
