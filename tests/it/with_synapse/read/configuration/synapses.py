"""Lets Synapse itself read configurations, and prints what matters to a migration.

Standard input: a JSON list of lists of arguments (`-c FILE`). Standard output: a JSON list, `null` for what Synapse
refuses. Run by `configuration.rs` in the directory in which Synapse would run.
"""

import contextlib
import io
import json
import logging
import sys

import psycopg2.extensions
from synapse.config.homeserver import HomeServerConfig


def database(entry: dict) -> dict:
    """Where a database is: the file, or libpq's settings."""
    args = {k: v for k, v in entry.get("args", {}).items() if not k.startswith("cp_")}
    if entry.get("name", "sqlite3") == "sqlite3":
        return {"sqlite": args["database"]}
    return psycopg2.extensions.parse_dsn(psycopg2.extensions.make_dsn(**args))


def read(arguments: list[str]) -> dict:
    config = HomeServerConfig.load_config("", arguments)
    keys = config.key
    return {
        "server_name": config.server.server_name,
        "keys": [key.version for key in keys.signing_key],
        "old_keys": {key_id: int(key.expired) for key_id, key in keys.old_signing_keys.items()},
        "databases": [database(one.config) for one in config.database.databases],
        "media": config.media.media_store_path,
        "appservices": config.appservice.app_service_config_files,
        "pepper": config.auth.password_pepper or None,
    }


def main() -> None:
    logging.disable(logging.CRITICAL)
    results = []
    for arguments in json.load(sys.stdin):
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                results.append(read(arguments))
        except BaseException as error:  # `SystemExit`, too.
            print(f"{arguments}: {error!r}", file=sys.stderr)
            results.append(None)
    json.dump(results, sys.stdout)


main()
