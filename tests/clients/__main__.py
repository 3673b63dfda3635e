"""Real clients across the move: they look at Synapse, stay open or are closed, and go on with Conduit behind the same address.

    python tests/clients --dir LAB --bin CONDUIT --importer IMPORTER --installed DIR [--without-rule] CLIENT

`LAB` is a filled laboratory (`scripts/lab`) that does not run, to be used up. `--installed` is where `scripts/test-clients` put
the clients. Exit code 1 if something is not as it was.
"""

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / "scripts/lab")]

import abroad  # noqa: E402: the laboratory's modules are found now
import bouncer  # noqa: E402
import browser  # noqa: E402
import phone  # noqa: E402
import servers  # noqa: E402
from address import Address  # noqa: E402
from judge import Judge  # noqa: E402
from move import Move  # noqa: E402
from notes import Notes  # noqa: E402

# What each does, and what it does before Synapse starts.
CLIENTS = {
    "matrix-js-sdk": (browser.go_on, None),
    "matrix-sdk": (phone.go_on, None),
    "federation": (abroad.go_on, None),
    "heisenbridge": (bouncer.go_on, bouncer.register),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/clients", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("dir", "bin", "importer", "installed"):
        parser.add_argument(f"--{option}", type=lambda path: Path(path).resolve(), required=True)
    parser.add_argument("--without-rule", action="store_true", help="without the rule in the reverse proxy: for a patched Conduit")
    parser.add_argument("client", choices=CLIENTS)
    args = parser.parse_args()
    lab, judge = Notes(args.dir), Judge(servers.of(args.bin))
    go_on, beforehand = CLIENTS[args.client]
    if beforehand:
        beforehand(lab, args.installed)
    with Address(lab.dir, args.importer) as address, Move(lab, address, args.bin, args.importer, not args.without_rule) as move:
        go_on(move, judge, args.installed)
    return 1 if judge.failed else 0


if __name__ == "__main__":
    sys.exit(main())
