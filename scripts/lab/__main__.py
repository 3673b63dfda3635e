"""A laboratory: a real Synapse, filled through its own APIs with every kind of thing that moves.

    python scripts/lab start --dir DIR [--engine sqlite|postgres]
    python scripts/lab fill --dir DIR
    python scripts/lab stop --dir DIR

`DIR/lab.json` says where everything is. It holds passwords and access tokens of made-up people.
A stopped laboratory can be copied; `start` moves its configuration to the new place and a free port.
"""

import argparse
import sys
from pathlib import Path

import fill
import synapse
from notes import Notes


def start(lab: Notes, args: argparse.Namespace) -> None:
    synapse.start(lab, args.engine)
    print(lab["base_url"])


def stop(lab: Notes, _args: argparse.Namespace) -> None:
    synapse.stop(lab)


def story(lab: Notes, _args: argparse.Namespace) -> None:
    fill.tell(lab)
    print(f"{len(lab['users'])} users, {len(lab['rooms'])} rooms")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/lab", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(name: str, run, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text)
        sub.add_argument("--dir", type=Path, required=True, help="the laboratory's directory")
        sub.set_defaults(run=run)
        return sub

    command("start", start, "start Synapse, at first in a new directory").add_argument(
        "--engine", choices=["sqlite", "postgres"], help="the database of a new laboratory; default sqlite")
    command("stop", stop, "stop Synapse and its database")
    command("fill", story, "tell the story of a family to an empty Synapse")

    args = parser.parse_args()
    args.run(Notes(args.dir.resolve()), args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
