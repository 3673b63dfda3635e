"""The move behind one address: Synapse stops, `importer migrate`, Conduit starts."""

import contextlib
import subprocess
import time
from pathlib import Path

import bridge
import conduit
import elsewhere
import servers
import synapse
from address import Address
from api import Client, q
from notes import Notes
from people import Family
from snapshot import history

ANSWER_SECONDS = 60


class Move:
    """A laboratory whose Synapse runs until `swap`."""

    def __init__(self, lab: Notes, address: Address, binary: Path, importer: Path, rule: bool):
        self.lab, self.address, self.binary, self.importer, self.rule = lab, address, binary, importer, rule
        self.database, self.server = lab.dir / "moved", servers.of(binary)
        self.servers = contextlib.ExitStack()

    def __enter__(self) -> "Move":
        bridge.register(self.lab)
        elsewhere.start(self.lab)
        synapse.start(self.lab, None)
        self.address.leads_to(self.lab["base_url"])
        return self

    def __exit__(self, *_error) -> None:
        self.servers.close()
        elsewhere.stop(self.lab)
        synapse.stop(self.lab)

    @property
    def family(self) -> Family:
        """Everybody by the API, beside the address: on Synapse before, on Conduit after."""
        return Family(self.lab, self.base_url)

    @property
    def base_url(self) -> str:
        return getattr(self, "conduit_url", self.lab["base_url"])

    @contextlib.contextmanager
    def silence(self):
        """Nobody behind the address."""
        self.address.leads_nowhere()
        yield
        self.address.leads_to(self.lab["base_url"])

    def swap(self, more: tuple[str, ...] = (), environment: dict | None = None) -> None:
        """The dump and the import are verified by the command itself."""
        self.address.leads_nowhere()
        synapse.stop(self.lab)
        command = [self.importer, "migrate", "--synapse-config", self.lab["config"], "--accept", "C301",
                   "--target", self.server.command, "--dump", self.lab.dir / "dump", "--database", self.database, "--no-progress"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        # 11 says that there are warnings.
        if done.returncode not in (0, 11):
            raise SystemExit(f"`importer migrate` ended with {done.returncode}\n{done.stdout}{done.stderr}")
        running = conduit.running(self.lab, self.binary, self.database, more, federation=bool(more), environment=environment)
        self.conduit_url = self.servers.enter_context(running)
        self.address.leads_to_conduit(self.conduit_url, self.rule, self.server.command)

    def told(self, token: str) -> dict[str, dict[str, list[str]]]:
        """All that this device is told of each of its rooms, oldest first, as `type sender event`, by the rooms' nicknames."""
        client = Client(self.base_url, token)
        nicknames = {room["room_id"]: nickname for nickname, room in self.lab["rooms"].items()}
        return {nicknames[room]: list(reversed(history(client, room)["order"]))
                for room in client.get("/joined_rooms")["joined_rooms"] if room in nicknames}

    def unread(self, token: str) -> dict[str, list[int]]:
        """How much is unread in each room, and how much of that names the user."""
        joined = Client(self.base_url, token).get("/sync", timeout=0)["rooms"]["join"]
        return {room: [view["unread_notifications"].get(f"{kind}_count", 0) for kind in ("notification", "highlight")]
                for room, view in joined.items()}

    def new_password(self, name: str) -> str:
        """By a command in Conduit's room for administrators, as the operator's guide says."""
        ada, server = self.family["ada"], self.lab["server_name"]
        room = ada.get(f"/directory/room/{q(f'#admins:{server}')}")["room_id"]
        told = f"the password for user @{name}:{server}: "
        if self.server is servers.CONTINUWUITY:
            ada.say(room, f"!admin users reset-password {name}")
        else:
            ada.say(room, f"@conduit:{server}: reset-password {name}")
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            for event in ada.get(f"/rooms/{q(room)}/messages", dir="b", limit=5)["chunk"]:
                _, found, password = event["content"].get("body", "").partition(told)
                if found:
                    return password.strip().strip("`")
            if time.monotonic() > deadline:
                raise SystemExit("Conduit's administrator does not answer")
            time.sleep(0.2)
