"""A proxy in front of a Synapse that answers in whatever way it is told to."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

HTML = b"<html><body>Not here</body></html>"
EMPTY = b'{"pdus":[]}'
# How long a request is kept hanging, in seconds.
HANG_SECONDS = 45


class Liar(ThreadingHTTPServer):
    """Passes requests on as long as `mood` is `honest`."""

    daemon_threads = True

    def __init__(self, base_url: str):
        super().__init__(("127.0.0.1", 0), Handler)
        self.base_url, self.mood, self.asked = base_url, "honest", 0
        self.calmed = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def be(self, mood: str) -> None:
        """Requests that hang from an earlier mood end."""
        self.mood = mood
        self.calmed.set()
        self.calmed = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Liar

    def do_GET(self) -> None:
        """Answers by the mood."""
        self.server.asked += 1
        mood, is_backfill = self.server.mood, "/backfill/" in self.path
        if mood == "honest":
            self.pass_on()
        elif mood == "hangs":
            self.server.calmed.wait(HANG_SECONDS)
            self.close_connection = True
        elif mood == "resets":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif mood == "truncates":
            self.answer(200, EMPTY[:5], "application/json", len(EMPTY))
        elif mood == "is empty" and is_backfill:
            self.answer(200, EMPTY, "application/json")
        elif mood == "is empty":
            self.answer(404, HTML, "text/html")
        else:
            self.answer(int(mood), HTML, "text/html")

    do_POST = do_GET

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "accept-encoding")}
        answer = requests.request(self.command, self.server.base_url + self.path, data=body, headers=headers, timeout=120,
                                  allow_redirects=False)
        self.answer(answer.status_code, answer.content, answer.headers.get("Content-Type", ""), more=answer.headers)

    def answer(self, status: int, body: bytes, kind: str, length: int | None = None, more=None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name in ("Content-Disposition", "Retry-After"):
            if more and name in more:
                self.send_header(name, more[name])
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = length is not None

    def log_message(self, *_args) -> None:
        """Says nothing."""


@contextlib.contextmanager
def between(base_url: str) -> Iterator[Liar]:
    """A proxy before the server at `base_url`."""
    liar = Liar(base_url)
    threading.Thread(target=liar.serve_forever, daemon=True).start()
    try:
        yield liar
    finally:
        liar.be("honest")
        liar.shutdown()
        liar.server_close()
