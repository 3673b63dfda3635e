"""matrix-sdk, which Element X is built on: by sliding sync as Element X does, and by `/sync`; with SQLite stores."""

from pathlib import Path

import servers
import story
from devices import Devices
from judge import Judge
from move import Move
from program import Failed, On, Program

# Each device: who has it, whether it uses sliding sync. Those that are not open are stopped before the move.
DEVICES = {"ada-open": ("ada", True), "ada-closed": ("ada", True), "ada-classic-open": ("ada", False),
           "ada-classic-closed": ("ada", False), "hana-classic-closed": ("hana", False), "hana-closed": ("hana", True),
           "rosa-open": ("rosa", True),
           "sam-open": ("sam", True), "sam-closed": ("sam", True), "sam-classic-closed": ("sam", False)}
CHATTERS = [name for name, (user, _) in DEVICES.items() if user in ("rosa", "sam")]
WAITED = "Written while you were away 🐢"


def go_on(move: Move, judge: Judge, installed: Path) -> None:
    stores = move.lab.dir / "phone"
    command = [installed / "rust/debug/client-that-is-moved", move.address.base_url, stores]
    with Program(command, move.lab.dir / "phone.log") as program:
        phone = Phone(program, move, judge, DEVICES)
        phone.prepare()
        move.swap()
        phone.look()


class Phone(Devices):
    """Everything about these clients; `program` runs from before the move until the end."""

    def prepare(self) -> None:
        """On Synapse."""
        family = self.move.family
        passwords = {name: user["password"] for name, user in self.move.lab["users"].items()}
        passwords |= {name: story.newcomer(family, name) for name in ("rosa", "sam")}
        for name, (user, sliding) in DEVICES.items():
            self.sessions[name] = self.on[name].login(user=user, password=passwords[user], sliding=sliding)
        walked = story.walk(family)
        rosa, sam = (self.client(f"{name}-open") for name in ("rosa", "sam"))
        self.secret = story.secret_room(family, rosa, sam.user_id, nickname="whispers", invited=[sam])
        for device in self.on.values():
            device.start()
        self.meet()
        self.gap(["ada-open", "ada-closed", "ada-classic-open", "ada-classic-closed"], walked)
        self.on["rosa-open"].newKey(room=self.secret)
        self.say("rosa-open", WAITED, readers=["sam-open"])
        for name in DEVICES:
            self.before[name] = {"told": self.move.told(self.sessions[name]["access_token"])}
        for name in ("rosa-open", "sam-open"):
            self.before[name] |= {"texts": self.on[name].texts(room=self.secret), "beliefs": self.beliefs(name)}

    def meet(self) -> None:
        """Rosa and Sam have recovery keys; all devices of theirs are verified, and they trust each other."""
        self.keys = {name: self.on[f"{name}-open"].begin() for name in ("rosa", "sam")}
        for name in CHATTERS:
            if not name.endswith("open"):
                self.on[name].recover(key=self.keys[name.partition("-")[0]])
        for name, other in (("rosa-open", "sam-open"), ("sam-open", "rosa-open")):
            self.on[name].trust(user=self.sessions[other]["user_id"])
        self.say("rosa-open", "Hello, sam", readers=[name for name in CHATTERS if name != "rosa-open"])
        self.say("sam-closed", "Hello, rosa", readers=[name for name in CHATTERS if name != "sam-closed"])

    def beliefs(self, name: str) -> dict:
        other = "sam-open" if name.startswith("rosa") else "rosa-open"
        return self.on[name].beliefs(user=self.sessions[other]["user_id"])

    def look(self) -> None:
        """On Conduit."""
        for name in DEVICES:
            self.on[name].online() if name.endswith("open") else self.on[name].start()
        for name in DEVICES:
            self.scroll(name)
            self.on[name].clear()
            self.scroll(name, "with an empty cache, ")
        for name in CHATTERS:
            self.read(name)
        for speaker in CHATTERS:
            for text in ("On Conduit 🦀", "Under a new key 🔑"):
                self.say(speaker, text, readers=[name for name in CHATTERS if name != speaker])
                self.on[speaker].newKey(room=self.secret)
        self.invites()
        self.new_device()

    def scroll(self, name: str, how: str = "") -> None:
        user = DEVICES[name][0]
        kept = {nickname: room["room_id"] for nickname, room in self.move.lab["rooms"].items()
                if nickname in self.before[name]["told"] and room["version"] not in ("1", "2")}
        found = {}
        for nickname, room in kept.items():
            try:
                found[nickname] = self.on[name].scroll(room=room)
            except Failed as failed:
                print(f"{nickname}: {failed}")
        told = {nickname: self.before[name]["told"][nickname] for nickname in kept}
        self.judge.scrolled(how + name, user, told, found)

    def read(self, name: str) -> None:
        before = self.before[f"{DEVICES[name][0]}-open"]
        self.judge.same(f"{name} reads all {len(before['texts'])} encrypted messages", before["texts"],
                        self.on[name].texts(room=self.secret))
        now, expected = self.beliefs(name), dict(before["beliefs"])
        if not name.endswith("-open"):
            expected["keys"] = now["keys"]
        self.judge.same(f"{name} is verified, trusts whom it trusted and has its key backup", expected, now)

    def invites(self) -> None:
        """By `/sync`: a stock Conduit's sliding sync shows none (importer/docs/upstream.md)."""
        room = self.move.lab["rooms"]["invited"]["room_id"]
        for name in ("hana-classic-closed", "hana-closed"):
            what = f"{name} sees an invite of before the move"
            if self.move.rule and name == "hana-closed" and self.move.server is servers.CONDUIT:
                print(f"explained, 1: {what}: a stock Conduit's sliding sync shows no invites (patch 0013)")
                continue
            seen = self.on[name].rooms().get(room, {})
            self.judge.same(what, ["Invited", "Surprise 🎁"], [seen.get("membership"), seen.get("name")])
        hana = self.on["hana-classic-closed"]
        hana.join(room=room)
        event = self.move.family["ada"].say(room, "Welcome")
        self.judge.same("hana takes it, and hears ada", "Welcome", hana.hears(room=room, event=event))

    def new_device(self) -> None:
        """With a password that the administrator gave, as a stock Conduit can't verify Synapse's."""
        new = On(self.program, "rosa-new")
        new.login(user="rosa", password=self.move.new_password("rosa"), sliding=True)
        new.start()
        new.recover(key=self.keys["rosa"])
        new.scroll(room=self.secret)
        old = self.before["rosa-open"]["texts"]
        read = {event: new.hears(room=self.secret, event=event) for event in old}
        self.judge.same(f"rosa's new device reads the {len(old)} messages of before", old, read)
