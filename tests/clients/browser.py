"""matrix-js-sdk, which Element Web is built on: clients that stay open during the move, and clients that come back from their stores."""

import time
from pathlib import Path

import story
from conduit import OLDEST_ROOM_VERSION
from devices import Devices
from judge import Judge
from move import Move
from program import On, Program, javascript

# Each device: who has it, whether it has encryption keys. Those that are not open are stopped before the move.
DEVICES = {"ada-open": ("ada", False), "ada-closed": ("ada", False), "hana-open": ("hana", False), "hana-closed": ("hana", False),
           "nora-open": ("nora", True), "nora-closed": ("nora", True), "otto-open": ("otto", True), "otto-closed": ("otto", True)}
PAUSE_SECONDS = 3
TEXTS = ["Before the move 🐌", "Under another key 🗝"]


def go_on(move: Move, judge: Judge, installed: Path) -> None:
    with Program(javascript(installed, move.address.base_url), move.lab.dir / "browser.log") as program:
        client = Browser(program, move, judge, DEVICES)
        client.prepare()
        move.swap()
        client.look()


class Browser(Devices):
    """Everything about these clients; `program` runs from before the move until the end."""

    def prepare(self) -> None:
        """On Synapse."""
        family = self.move.family
        passwords = {name: user["password"] for name, user in self.move.lab["users"].items()}
        passwords |= {name: story.newcomer(family, name) for name in ("nora", "otto")}
        for name, (user, crypto) in DEVICES.items():
            self.sessions[name] = self.on[name].login(user=user, password=passwords[user], crypto=crypto)
        walked = story.walk(family)
        nora, otto = (self.client(f"{name}-open") for name in ("nora", "otto"))
        self.secret = story.secret_room(family, nora, otto.user_id, nickname="whispers", invited=[otto])
        for device in self.on.values():
            device.start()
        self.meet()
        self.gap(["ada-open", "ada-closed"], walked)
        for key in range(2):
            self.on["nora-open"].newKey(room=self.secret)
            self.say("nora-open", TEXTS[key], readers=["otto-open"])
        self.settle()

    def meet(self) -> None:
        """Nora and Otto have keys, backups and two devices each, which they verify, and compare emoji."""
        for name in ("nora", "otto"):
            self.on[f"{name}-open"].begin()
            self.on[f"{name}-closed"].recover()
        same = self.program.ask("verify", "nora-open", other="otto-open", room=self.secret)
        self.judge.so("on Synapse, nora and otto see the same emoji", same)
        self.say("nora-open", "Hello, otto", readers=["otto-open", "otto-closed", "nora-closed"])
        self.say("otto-closed", "Hello, nora", readers=["nora-open", "nora-closed", "otto-open"])

    def settle(self) -> None:
        """What there is, before the move."""
        # For what clients do a little later: uploads to the key backup.
        time.sleep(PAUSE_SECONDS)
        for name in DEVICES:
            session = self.sessions[name]
            self.before[name] = {"told": self.move.told(session["access_token"]), "unread": self.move.unread(session["access_token"])}
            if name.endswith("open"):
                self.before[name]["rooms"] = self.on[name].rooms()
            if name in ("nora-open", "otto-open"):
                self.before[name] |= {"beliefs": self.beliefs(name), "texts": self.on[name].texts(room=self.secret),
                                      "backedUp": self.on[name].backedUp()}

    def beliefs(self, name: str) -> dict:
        others = [(session["user_id"], session["device_id"]) for device, session in sorted(self.sessions.items())
                  if DEVICES.get(device, ("", True))[1]]
        return self.on[name].beliefs(others=others)

    def look(self) -> None:
        """On Conduit."""
        for name in DEVICES:
            self.on[name].online() if name.endswith("open") else self.on[name].start()
        for name in DEVICES:
            self.see(name)
        for name in DEVICES:
            self.scroll(name)
        for name in ("nora-open", "nora-closed", "otto-open", "otto-closed"):
            self.read(name)
        self.speak()
        self.go_on()
        self.new_device()

    def see(self, name: str) -> None:
        """The list of rooms, with what is unread, and invites."""
        user, _ = name.split("-")
        kept = {room["room_id"] for room in self.move.lab["rooms"].values() if room["version"] not in ("1", "2")}
        before, now = ({room: dict(view) for room, view in rooms.items() if room in kept and view["membership"] != "leave"}
                       for rooms in (self.before[f"{user}-open"]["rooms"], self.on[name].rooms()))
        for room, unread in self.before[name]["unread"].items():
            if room in before and before[room]["unread"] is not None:
                # The client takes off what its user has said after, which Synapse does not, and no server says again.
                before[room]["unread"] = unread
        for view in (*before.values(), *now.values()):
            del view["token"], view["shown"]
        self.judge.same(f"{name} sees the same {len(before)} rooms and invites, and as much unread", before, now)

    def scroll(self, name: str) -> None:
        user, _ = name.split("-")
        kept = {nickname: room["room_id"] for nickname, room in self.move.lab["rooms"].items()
                if nickname in self.before[name]["told"] and room["version"] not in ("1", "2")}
        found = {nickname: self.on[name].scroll(room=room) for nickname, room in kept.items()}
        told = {nickname: self.before[name]["told"][nickname] for nickname in kept}
        self.judge.scrolled(name, user, told, found)

    def read(self, name: str) -> None:
        """Old messages, and those that waited; who is trusted."""
        user, _ = name.split("-")
        before = self.before[f"{user}-open"]
        self.judge.same(f"{name} reads all {len(before['texts'])} encrypted messages", before["texts"],
                        self.on[name].texts(room=self.secret))
        now = self.beliefs(name)
        keys = now.pop("keys")
        expected = dict(before["beliefs"])
        if name.endswith("open"):
            self.judge.same(f"{name} has the keys that it had", expected["keys"], keys)
        expected.pop("keys")
        self.judge.same(f"{name} is verified, trusts whom it trusted and uses the same key backup", expected, now)

    def speak(self) -> None:
        """Ada speaks in each room, and hears it once; Hana takes an invite; what is read counts as read."""
        rooms = {nickname: room["room_id"] for nickname, room in self.move.lab["rooms"].items()
                 if nickname in self.before["ada-open"]["told"] and int(room["version"]) >= OLDEST_ROOM_VERSION
                 and nickname != "encrypted"}
        said = {nickname: self.on["ada-open"].say(room=room, text="Hello from Conduit") for nickname, room in rooms.items()}
        heard = {nickname: self.on["ada-closed"].hears(room=rooms[nickname], event=event) for nickname, event in said.items()}
        self.judge.same(f"ada speaks in {len(said)} rooms, and hears it on her other device",
                        dict.fromkeys(said, "Hello from Conduit"), heard)
        for name in ("ada-open", "ada-closed"):
            views = self.on[name].rooms()
            ends = {nickname: [event for event in views[room]["shown"] if event == said[nickname]] for nickname, room in rooms.items()}
            self.judge.same(f"{name} shows each of these once", {nickname: [event] for nickname, event in said.items()}, ends)
        room = self.move.lab["rooms"]["invited"]["room_id"]
        self.on["hana-open"].join(room=room)
        # A stock Conduit can lose a join until somebody speaks (importer/docs/upstream.md).
        if not self.move.rule:
            self.on["hana-open"].isIn(room=room)
        event = self.on["ada-closed"].say(room=room, text="Welcome")
        heard = self.on["hana-open"].hears(room=room, event=event)
        self.on["hana-open"].isIn(room=room)
        self.judge.same("hana takes an invite of before the move, and hears ada", "Welcome", heard)
        self.on["hana-open"].readAll(room=self.move.lab["rooms"]["walk"]["room_id"])

    def go_on(self) -> None:
        names = [name for name, (_, crypto) in DEVICES.items() if crypto]
        for speaker in ("nora-open", "otto-closed", "nora-closed"):
            for text in ("On Conduit 🦀", "Under a new key 🔑"):
                self.say(speaker, text, readers=[name for name in names if name != speaker])
                self.on[speaker].newKey(room=self.secret)

    def new_device(self) -> None:
        """With a password that the administrator gave, as a stock Conduit can't verify Synapse's."""
        new = On(self.program, "nora-new")
        password = self.move.new_password("nora")
        self.sessions["nora-new"] = new.login(user="nora", password=password, crypto=True)
        new.start()
        restored = new.recover()
        self.judge.so("nora's new device opens the key backup", restored["total"] == restored["imported"] > 0, restored)
        old = self.before["nora-open"]["texts"]
        texts = new.texts(room=self.secret)
        self.judge.same(f"nora's new device reads the {len(old)} messages of before", old, {key: texts.get(key) for key in old})
