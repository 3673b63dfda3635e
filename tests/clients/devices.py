"""What clients of every kind do alike: devices of people, told by one program."""

import story
from api import Client
from judge import Judge
from move import Move
from program import On, Program


class Devices:
    """`program` runs from before the move until the end; `names` are those of the devices."""

    def __init__(self, program: Program, move: Move, judge: Judge, names: dict):
        self.program, self.move, self.judge = program, move, judge
        self.on = {name: On(program, name) for name in names}
        self.sessions, self.before = {}, {}

    def client(self, name: str) -> Client:
        session = self.sessions[name]
        return Client(self.move.base_url, session["access_token"], session["user_id"], session["device_id"])

    def say(self, speaker: str, text: str, readers: list[str]) -> str:
        """Somebody speaks, and others can read it."""
        event = self.on[speaker].say(room=self.secret, text=text)
        heard = {name: self.on[name].hears(room=self.secret, event=event) for name in readers}
        self.judge.same(f"what {speaker} says ({text!r}) is read by {', '.join(readers)}", dict.fromkeys(readers, text), heard)
        return event

    def gap(self, names: list[str], room: str) -> None:
        """The devices of these names scroll in a room, then all miss something, and those that don't stay open miss more."""
        for name in names:
            self.on[name].page(room=room)
        with self.move.silence():
            story.talk(self.move.family, "While nobody listened")
        for device in self.on.values():
            device.online()
        for name, device in self.on.items():
            if name.endswith("closed"):
                device.stop()
        story.talk(self.move.family, "While one is away")
