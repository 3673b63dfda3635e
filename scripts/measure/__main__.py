"""Measures the importer on generated servers. `scripts/bench` builds what it needs and starts it.

    scripts/bench [--sizes 10000,100000] [--engines sqlite,postgres] [--plot FILE.svg] [--scratch DIR] [--results FILE]

Each size is a server of 1,200 users and 500 rooms with so many events. On each engine it is read by the dump and, for
comparison, by the database's own client, each into a file on the same disk. The dump is imported and verified; the
finished database's rows are read by one thread that does nothing else, loaded into an empty database by the fastest way
that RocksDB has, and written to one file. Dump, import and verification run on one core and on two, too.
At last, a whole `migrate` of a server with 51,000 events and 2,700 media files, and the same with the files copied beforehand
(`importer media`). All with a warm page cache.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import growth
import server
import tables
from programs import Programs


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--sizes", default="10000,100000,1000000", help="numbers of events")
    parser.add_argument("--engines", default="sqlite,postgres", help="the first one's dumps are imported")
    parser.add_argument("--no-migration", action="store_true", help="leave out the whole migration")
    parser.add_argument("--plot", type=Path, help="where to draw growth, as SVG")
    parser.add_argument("--scratch", type=Path, help="where to work; a disk with 10 kB for each event")
    parser.add_argument("--results", type=Path, help="JSON of all results; what it holds already is not measured again")
    args = parser.parse_args()

    results = json.loads(args.results.read_text()) if args.results and args.results.exists() else {}
    if args.scratch:
        args.scratch.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=args.scratch))
    # PostgreSQL runs as a user of its own.
    scratch.chmod(0o755)
    programs = Programs(args.programs, scratch)

    def note(name: str, measure) -> None:
        if name not in results:
            print(f"measuring {name}", flush=True)
            results[name] = measure()
            if args.results:
                args.results.write_text(json.dumps(results, indent=1))

    try:
        engines = args.engines.split(",")
        for size in map(int, args.sizes.split(",")):
            for engine in engines:
                note(f"{engine} {size}", lambda: server.measure(programs, engine, size, engine == engines[0]))
        if not args.no_migration:
            note("migration", lambda: server.migration(programs))
    finally:
        shutil.rmtree(scratch)
    print(tables.markdown(results))
    if args.plot:
        args.plot.write_text(growth.svg(growth.series(results)))


main()
