"""heisenbridge: an application service that keeps what it knows on the homeserver, between ngircd and a room."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import elsewhere
import synapse
import yaml
from api import Client, Refused, q
from judge import Judge
from move import Move

NGIRCD = shutil.which("ngircd", path=os.environ.get("PATH", "") + ":/usr/sbin")
BOT = "heisenbridge"
NETWORK, CHANNEL = "harbour", "#quay"
ATTEMPTS = 300


def command(lab, installed: Path) -> list:
    return [installed / "venv/bin/python", "-m", BOT, "-c", lab.dir / f"{BOT}.yaml"]


def register(lab, installed: Path) -> None:
    """Lets Synapse's configuration name the registration, too: the laboratory knows of one application service only."""
    registration = [*command(lab, installed), "--generate", "--listen-port", str(synapse.free_port())]
    subprocess.run(registration, check=True, capture_output=True)
    write = synapse.write_config

    def write_both(which, *how) -> None:
        write(which, *how)
        path = Path(which["config"])
        config = yaml.safe_load(path.read_text())
        if config["app_service_config_files"]:
            config["app_service_config_files"].append(str(lab.dir / f"{BOT}.yaml"))
            path.write_text(yaml.safe_dump(config, sort_keys=False))

    synapse.write_config = write_both


class Sailor:
    """Somebody on IRC."""

    def __init__(self, port: int, nick: str):
        self.wire, self.seen = socket.create_connection(("127.0.0.1", port)), ""
        self.wire.setblocking(False)
        self.tell(f"NICK {nick}", f"USER {nick} 0 * :{nick}")
        until(lambda: " 001 " in self.read(), "IRC welcomes a sailor")
        self.tell(f"JOIN {CHANNEL}")

    def tell(self, *lines: str) -> None:
        self.wire.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def read(self) -> str:
        try:
            self.seen += self.wire.recv(65536).decode()
        except BlockingIOError:
            pass
        for line in [line for line in self.seen.splitlines() if line.startswith("PING ")]:
            self.tell(line.replace("PING", "PONG"))
            self.seen = self.seen.replace(line, "")
        return self.seen


class Bouncer:
    """The three programs, and Ada, who uses them."""

    def __init__(self, move: Move, judge: Judge, installed: Path):
        self.move, self.judge = move, judge
        self.command, self.processes = command(move.lab, installed), {}

    def __enter__(self) -> "Bouncer":
        return self

    def __exit__(self, *_error) -> None:
        for name in list(self.processes):
            self.end(name)

    def run(self, name: str, command: list) -> None:
        with open(self.move.lab.dir / f"{name}.log", "a") as log:
            self.processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end(self, name: str) -> None:
        process = self.processes.pop(name)
        process.terminate()
        process.wait(30)

    def start_irc(self) -> int:
        port, config = synapse.free_port(), self.move.lab.dir / "ngircd.conf"
        config.write_text(f"[Global]\nName = irc.test\nInfo = Harbour\nListen = 127.0.0.1\nPorts = {port}\n[Limits]\nMaxConnectionsIP = 0\n"
                          "[Options]\nDNS = no\nIdent = no\nPAM = no\n")
        config.chmod(0o644)
        self.run("ngircd", [NGIRCD, "-n", "-f", config])
        until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), "ngircd answers")
        return port

    def start_bridge(self) -> None:
        log = self.move.lab.dir / f"{BOT}.log"
        before = log.read_text().count("bridge is now running") if log.exists() else 0
        self.run(BOT, [*self.command, "-v", "-o", self.ada.user_id, self.move.address.base_url])
        # An invite that comes earlier is lost to it.
        until(lambda: log.read_text().count("bridge is now running") > before, "the bridge runs")

    @property
    def ada(self) -> Client:
        return self.move.family["ada"]

    def invited(self, name: str) -> str:
        """Joins the room of this name that the bridge has made for Ada; returns its id."""
        def look() -> str | None:
            for room, view in elsewhere.sync(self.ada).get("invite", {}).items():
                if any(event["type"] == "m.room.name" and event["content"].get("name", "").startswith(name)
                       for event in view["invite_state"]["events"]):
                    return room
            return None
        room = until(look, f"the bridge invites ada to {name}")
        self.ada.join(room)
        return room

    def set_up(self, port: int) -> str:
        """Ada asks the bot for a network and a channel; returns the channel's room."""
        bot = f"@{BOT}:{self.move.lab['server_name']}"
        control = self.ada.post("/createRoom", preset="trusted_private_chat", is_direct=True, invite=[bot])["room_id"]
        until(lambda: bot in self.ada.get(f"/rooms/{q(control)}/joined_members")["joined"], "the bot comes")
        for command in (f"ADDNETWORK {NETWORK}", f"ADDSERVER {NETWORK} 127.0.0.1 {port}", f"OPEN {NETWORK}"):
            self.ada.say(control, command)
            time.sleep(1)
        network = self.invited(NETWORK)
        self.ada.say(network, "NICK ada")
        self.ada.say(network, "CONNECT")
        until(lambda: "Welcome to the Internet Relay Network ada" in self.said(network), "the bridge connects")
        self.ada.say(network, f"JOIN {CHANNEL}")
        return self.invited(CHANNEL)

    def said(self, room: str) -> str:
        page = self.ada.get(f"/rooms/{q(room)}/messages", dir="b", limit=50)["chunk"]
        return "\n".join(f"{event['sender']} {event['content'].get('body', '')}" for event in page)

    def both_ways(self, sailor: Sailor, room: str, when: str) -> None:
        """What is said on either side is heard on the other."""
        sailor.tell(f"PRIVMSG {CHANNEL} :Ahoy {when}")
        heard = attempt(lambda: f"gull:{self.move.lab['server_name']} Ahoy {when}" in self.said(room))
        self.judge.so(f"{when}, ada reads what is said on IRC", heard, self.said(room)[:300])
        self.ada.say(room, f"Hello {when}")
        self.judge.so(f"{when}, IRC reads what ada says", attempt(lambda: f"Hello {when}" in sailor.read()), sailor.seen[-300:])


def go_on(move: Move, judge: Judge, installed: Path) -> None:
    with Bouncer(move, judge, installed) as bouncer:
        port = bouncer.start_irc()
        bouncer.start_bridge()
        room = bouncer.set_up(port)
        sailor = Sailor(port, "gull")
        bouncer.both_ways(sailor, room, "before the move")
        move.swap()
        bouncer.both_ways(sailor, room, "with a bridge that went on")
        bouncer.end(BOT)
        seen = len(sailor.read())
        bouncer.start_bridge()
        back = attempt(lambda: f"JOIN :{CHANNEL}" in sailor.read()[seen:])
        judge.so("the bridge that is started again comes back to its channel", back)
        bouncer.both_ways(sailor, room, "with a bridge that came back")


def attempt(condition) -> bool:
    try:
        return bool(until(condition, ""))
    except SystemExit:
        return False


def until(condition, what: str):
    """Tries until there is a result."""
    for _ in range(ATTEMPTS):
        try:
            if result := condition():
                return result
        except (KeyError, Refused):
            pass
        time.sleep(0.1)
    raise SystemExit(f"not so: {what}")
