"""A laboratory: a real Synapse, filled through its own APIs with every kind of thing that moves.

    python scripts/lab empty --dir DIR [--engine sqlite|postgres]
    python scripts/lab start --dir DIR [--engine sqlite|postgres] [--default-limits] [--quiet FILE]
    python scripts/lab fill --dir DIR
    python scripts/lab talk --dir DIR
    python scripts/lab stop --dir DIR
    python scripts/lab snapshot --dir DIR --output FILE [--homeserver URL]
    python scripts/lab history --dir DIR --output FILE [--bin CONDUIT --database DIR --before FILE]
    python scripts/lab compare BEFORE AFTER [--server conduit|continuwuity]
    python scripts/lab conduit --dir DIR --bin CONDUIT --database DIR --before FILE --after FILE
    python scripts/lab threads --dir DIR --bin CONDUIT --database DIR --without DIR
    python scripts/lab encryption --dir DIR --bin CONDUIT --database DIR
    python scripts/lab fixture --dir DIR --bin CONTINUWUITY --database DIR
    python scripts/lab expire --dir DIR
    python scripts/lab predecessor --dir DIR --bin PATCHED-CONDUIT --database DIR --database-by-api DIR
    python scripts/lab live-long --dir DIR
    python scripts/lab live-races --dir DIR
    python scripts/lab past --dir DIR --bin PATCHED-CONDUIT --database DIR
    python scripts/lab hostile --dir DIR --bin PATCHED-CONDUIT --database DIR
    python scripts/lab live-crowd --dir DIR [--events N]
    python scripts/lab crowd --dir DIR --bin PATCHED-CONDUIT --database DIR
    python scripts/lab cost --dir DIR --bin PATCHED-CONDUIT --stock CONDUIT --database DIR
    python scripts/lab drain --dir DIR --bin PATCHED-CONDUIT --database DIR --importer IMPORTER --dump DIR

`DIR/lab.json` says where everything is. It holds passwords and access tokens of made-up people.
A stopped laboratory can be copied; `start` moves its configuration to the new place and a free port.
"""

import argparse
import sys
from pathlib import Path

import bridge
import compare
import conduit
import cost
import crowd
import drained
import elsewhere
import empty
import fill
import fixture
import history
import hostile
import past
import predecessor
import race
import secrecy
import servers
import snapshot
import synapse
import talk
import threads
from notes import Notes


def start(lab: Notes, args: argparse.Namespace) -> None:
    lab.dir.mkdir(parents=True, exist_ok=True)
    if "alone" in lab:
        synapse.meet([lab])
    else:
        bridge.register(lab)
        elsewhere.start(lab)
    synapse.start(lab, args.engine, args.default_limits, args.quiet)
    print(lab["base_url"])


def prepare(lab: Notes, args: argparse.Namespace) -> None:
    lab.dir.mkdir(parents=True, exist_ok=True)
    empty.prepare(lab, args.engine)


def database(lab: Notes, _args: argparse.Namespace) -> None:
    empty.resume(lab)


def stop(lab: Notes, _args: argparse.Namespace) -> None:
    if "alone" not in lab:
        elsewhere.stop(lab)
    synapse.stop(lab)


def story(lab: Notes, _args: argparse.Namespace) -> None:
    fill.tell(lab)
    print(f"{len(lab['users'])} users, {len(lab['rooms'])} rooms")


def much_talk(lab: Notes, _args: argparse.Namespace) -> None:
    print(f"talked in {talk.talk(lab)} rooms")


def look(lab: Notes, args: argparse.Namespace) -> None:
    snapshot.write(lab, args.homeserver, args.output)
    if not args.homeserver:
        secrecy.write(lab, args.output.with_suffix(".refused.json"))


def remember(lab: Notes, args: argparse.Namespace) -> int:
    if args.bin:
        return history.try_out(lab, args.bin, args.database.resolve(), args.before, args.output)
    history.write(lab, lab["base_url"], args.output)
    return 0


def move_in(lab: Notes, args: argparse.Namespace) -> int:
    return conduit.try_out(lab, args.bin, args.database.resolve(), args.before, args.after)


def replace(lab: Notes, args: argparse.Namespace) -> None:
    predecessor.try_out(lab, args.bin, args.database.resolve(), args.database_by_api.resolve())


def expire(lab: Notes, _args: argparse.Namespace) -> None:
    predecessor.expire(lab)


def live_long(lab: Notes, _args: argparse.Namespace) -> None:
    past.tell(lab)


def live_races(lab: Notes, _args: argparse.Namespace) -> None:
    race.tell(lab)


def look_back(lab: Notes, args: argparse.Namespace) -> None:
    past.try_out(lab, args.bin, args.database.resolve())


def be_lied_to(lab: Notes, args: argparse.Namespace) -> None:
    hostile.try_out(lab, args.bin, args.database.resolve())


def live_crowd(lab: Notes, args: argparse.Namespace) -> None:
    crowd.tell(lab, args.events)


def be_drained(lab: Notes, args: argparse.Namespace) -> None:
    crowd.try_out(lab, args.bin, args.database.resolve())


def compare_costs(lab: Notes, args: argparse.Namespace) -> None:
    cost.measure(lab, args.bin, args.stock, args.database.resolve())


def drain(lab: Notes, args: argparse.Namespace) -> None:
    print(drained.try_out(lab, args.bin, args.database.resolve(), args.importer, args.dump))


def reply(lab: Notes, args: argparse.Namespace) -> None:
    threads.try_out(lab, args.bin, args.database.resolve(), args.without.resolve())


def talk_on(lab: Notes, args: argparse.Namespace) -> int:
    return conduit.talk_on(lab, args.bin, args.database.resolve())


def make_fixture(lab: Notes, args: argparse.Namespace) -> None:
    fixture.make(lab, args.bin, args.database.resolve())


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/lab", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(name: str, run, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text)
        sub.add_argument("--dir", type=Path, required=True, help="the laboratory's directory")
        sub.set_defaults(run=run)
        return sub

    sub = command("start", start, "start Synapse, at first in a new directory")
    sub.add_argument("--engine", choices=["sqlite", "postgres"], help="the database of a new laboratory; default sqlite")
    sub.add_argument("--default-limits", action="store_true", help="limit other servers' requests as Synapse does by default")
    sub.add_argument("--quiet", type=Path, help="what `importer quiet-config` printed")
    command("empty", prepare, "make the database of a Synapse without users, and stop Synapse; PostgreSQL goes on").add_argument(
        "--engine", choices=["sqlite", "postgres"], default="sqlite")
    command("database", database, "write the configuration for this place and start PostgreSQL, if it is used, alone")
    command("stop", stop, "stop Synapse and its database")
    command("fill", story, "tell the story of a family to an empty Synapse")

    command("talk", much_talk, "talk in all rooms until what was said before is long ago")

    sub = command("snapshot", look, "write what every device sees")
    sub.add_argument("--output", type=Path, required=True)
    sub.add_argument("--homeserver", help="another server with the same users, such as the Conduit after the move")

    sub = command("history", remember, "write what members of generated rooms see of the past, on Synapse, or on Conduit to be compared")
    sub.add_argument("--output", type=Path, required=True)
    for option in ("bin", "database", "before"):
        sub.add_argument(f"--{option}", type=Path)

    sub = command("conduit", move_in, "start Conduit, or Continuwuity, on a migrated database and compare; exit code 1 if it differs")
    for option in ("bin", "database", "before", "after"):
        sub.add_argument(f"--{option}", type=Path, required=True)

    command("expire", expire, "log somebody in whose access token will expire")

    sub = command("predecessor", replace, "start a patched Conduit in front of the Synapse that it replaced")
    for option in ("bin", "database", "database-by-api"):
        sub.add_argument(f"--{option}", type=Path, required=True)

    command("live-long", live_long, "make rooms with more history than a dump of what is recent holds")

    command("live-races", live_races, "make rooms in which joins overtake what led to them")

    sub = command("past", look_back, "start a patched Conduit and let it fetch the history of those rooms")
    for option in ("bin", "database"):
        sub.add_argument(f"--{option}", type=Path, required=True)

    sub = command("hostile", be_lied_to, "start a patched Conduit whose Synapse gives wrong answers")
    for option in ("bin", "database"):
        sub.add_argument(f"--{option}", type=Path, required=True)

    command("live-crowd", live_crowd, "make a long room of nine people").add_argument(
        "--events", type=int, default=2_000, help="how many messages; default 2000")

    sub = command("crowd", be_drained, "start a patched Conduit and let ten devices read that room at the same time")
    for option in ("bin", "database"):
        sub.add_argument(f"--{option}", type=Path, required=True)

    sub = command("cost", compare_costs, "after `past`: the processor time of requests, against a stock Conduit")
    for option in ("bin", "stock", "database"):
        sub.add_argument(f"--{option}", type=Path, required=True)

    sub = command("drain", drain, "start a patched Conduit and run `importer drain` on it")
    for option in ("bin", "database", "importer", "dump"):
        sub.add_argument(f"--{option}", type=Path, required=True)

    sub = command("threads", reply, "start Conduit on what is recent, with and without the first events of its threads, and reply")
    for option in ("bin", "database", "without"):
        sub.add_argument(f"--{option}", type=Path, required=True)

    sub = command("encryption", talk_on, "start Conduit, or Continuwuity, on a migrated database and talk on; exit code 1 if a client can't")
    for option in ("bin", "database"):
        sub.add_argument(f"--{option}", type=Path, required=True)

    sub = command("fixture", make_fixture, "fill an empty Continuwuity and stop it: see tests/fixtures/README.md")
    for option in ("bin", "database"):
        sub.add_argument(f"--{option}", type=Path, required=True)

    sub = commands.add_parser("compare", help="compare two snapshots; exit code 1 if something is unexplained")
    sub.add_argument("before", type=Path)
    sub.add_argument("after", type=Path)
    sub.add_argument("--server", choices=servers.SERVERS, default="conduit", help="what AFTER is of; default conduit")
    sub.set_defaults(run=None)

    args = parser.parse_args()
    if args.run is None:
        return 1 if compare.report(servers.SERVERS[args.server], args.before, args.after) else 0
    return 1 if args.run(Notes(args.dir.resolve()), args) else 0


if __name__ == "__main__":
    sys.exit(main())
