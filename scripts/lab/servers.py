"""The servers that a database is made for, and what differs between them."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Server:
    """`command` is the first word of what the program says to `--version`, `variable` what names its configuration in the
    environment, and `explained` what may differ from Synapse: a path of keys (`compare.py`), as a pattern, and why, with the
    place in the server's source that makes it so. "Not yet" is a fault that is known."""

    name: str
    command: str
    variable: str
    # Lines of configuration for a database, and those that let anybody register.
    settings: Callable[[Path], list[str]]
    open_registration: list[str]
    # Whether the first answer to /sync names people whose keys are to be asked for.
    first_sync_has_device_lists: bool
    # Whether it refuses a reply in a thread whose first event it has not.
    refuses_rootless_replies: bool
    explained: list[tuple[str, str]]


def backend(database: Path) -> str:
    return "sqlite" if (database / "conduit.db").exists() else "rocksdb"


# Source: Conduit d058dab7.
CONDUIT_EXPLAINED = [
    (r"devices/\w+/\d/(join|leave)/v[12]",
     "Conduit holds no rooms of versions 1 and 2 (service/globals/mod.rs:182-193); the importer warns of each"),
    (r"devices/ada/\d/join/![^/]+",
     "Conduit's own room for administrators (service/admin/mod.rs:1721-1948)"),
    (r"devices/\w+/\d/join/\w+/receipts/m\.read\.private.+",
     "Conduit tells no client of private receipts (api/client_server/read_marker.rs:46-71, sync.rs:1142-1148)"),
    (r"media/.+/thumbnail \d+x\d+",
     "Conduit gives an image that is smaller than the thumbnail asked for as it is; Synapse enlarges it "
     "(service/media/mod.rs:339-343)"),
    (r"devices/dan/\d/join/public/history/[\w.]+ @eve:.+",
     "dan ignores eve: Synapse hides what she says; Conduit looks at the list for invites only "
     "(service/rooms/state_cache/mod.rs:156-187), otherwise the client hides it"),
    (r"devices/ben/\d/join/of-kim/history/[\w.]+ @kim:.+/content/.+",
     "kim was erased: Synapse shows what she said to those only who were there; Conduit knows no such rule, so the dump "
     "leaves it out for all (importer/docs/decisions.md)"),
    (r"devices/ben/\d/join/of-kim/relations/.+",
     "kim was erased: of her reaction, only that there was something is left"),
    (r"devices/hana/\d/join/of-kim/history/m\.room\.(create|name|power_levels|topic) @kim:.+/content/.+",
     "kim was erased: what she set and still holds is whole in Conduit's history; Synapse shows it whole as the room's state only"),
    (r"devices/\w+/\d/profiles/@kim:[^/]+/errcode",
     "kim was erased: Synapse has no profile of hers, Conduit an empty one (api/client_server/profile.rs:314-332)"),
    (r"devices/ben/\d/keys/master_keys/@ben:[^/]+/signatures",
     "Conduit shows ben who signed his key (service/users/mod.rs:662); Synapse shows a signature to its signer"),
    (r"(?:devices/(\w+)/\d/join/long|room\d+/(\w+))/history/m\.room\.member @(?:\1|\2):.+",
     "where not everybody may see everything, Conduit judges an event by the state before it and so hides from people how "
     "they were invited, came or left; Synapse always shows them "
     "(service/rooms/state_accessor/mod.rs:170-225)"),
    (r"room\d+/\w+/history/m\.room\.history_visibility @.+",
     "Synapse shows an event that opens the history to those to whom it opens it; Conduit judges it by the state before "
     "(service/rooms/state_accessor/mod.rs:170-225)"),
    (r"room\d+/\w+/unreached",
     "Conduit takes 100 events and then leaves out those that a user may not see; where none is left, the page has no end, "
     "and a client stops there (api/client_server/message.rs:206-266). The events are given when asked for by their ids"),
    (r"devices/\w+/\d/join/far/order",
     "of events that were sent at once, Synapse's /messages shows the deeper ones last; Conduit has one order, that of "
     "arrival (database/key_value/rooms/timeline.rs:228-262)"),
    (r"devices/\w+/\d/join/private/relations/.+",
     "Conduit's /relations goes one level deeper than asked (service/rooms/pdu_metadata/mod.rs:192-221)"),
]

CONDUIT = Server(
    "Conduit", "conduit", "CONDUIT_CONFIG",
    settings=lambda database: [
        f'database_backend = "{backend(database)}"', "allow_check_for_updates = false"],
    open_registration=["allow_registration = true"],
    first_sync_has_device_lists=True,
    refuses_rootless_replies=True,
    explained=CONDUIT_EXPLAINED,
)

# Source: Continuwuity 09073235.
CONTINUWUITY_EXPLAINED = [
    (r"devices/\w+/\d/(join|leave)/v[12]",
     "Continuwuity holds no rooms of versions 1 and 2 (core/info/room_version.rs:10-22); the importer warns of each"),
    (r"devices/(cleo/\d/leave/public|finn/\d/leave/refused)",
     "of a room that was left, Continuwuity gives all from the member event before on (api/client/sync/v3/left.rs:129-216); so the "
     "importer lets it show none that finn was only invited to, or that cleo was banned from until then"),
    (r"devices/ada/\d/join/![^/]+",
     "Continuwuity's own room for administrators (service/admin/create.rs:28-237)"),
    (r"devices/ben/\d/join/private/receipts/m\.read\.private\|@ben:[^|]+\|(main)?",
     "Continuwuity knows no threads of receipts: one for the main timeline is one for the room (service/rooms/read_receipt/mod.rs:72)"),
    (r"media/.+/thumbnail 96x96",
     "Continuwuity gives an image that is smaller than the thumbnail asked for as it is; Synapse enlarges it "
     "(service/media/thumbnail.rs:112)"),
    (r"media/.+/without token/.+",
     "Continuwuity gives all its files without a token, too, unless `allow_legacy_media` is off (core/config/mod.rs:1757, api/router.rs:241)"),
    (r"media/\w+/(file gone|quarantined|reserved)/file/status",
     "where there is no file, Continuwuity answers 400 (api/client/media.rs:143)"),
    (r"media/\w+/odd name/(file|without token)/name",
     "Continuwuity leaves out of a file's name what no file system would take (core/utils/content_disposition.rs:73)"),
    (r"devices/\w+/\d/(push_rules|account_data/m\.push_rules/global)/(override/\.m\.rule\.(contains_display_name|roomnotif)|"
     r"content/\.m\.rule\.contains_user_name|underride/\.im\.vector\.jitsi)",
     "when a client asks for push rules, Continuwuity takes away the server's rules of old: mentions without `m.mentions` (MSC4210), "
     "calls by widgets (api/client/push.rs:55-88)"),
    (r"devices/\w+/\d/(push_rules|account_data/m\.push_rules/global)/(override|underride)/"
     r"\.(org\.matrix\.msc3930\.rule\.poll_\w+|m\.rule\.(encrypted_)?room_one_to_one)/?.*",
     "and it puts its own in: rules for polls (MSC3930), conditions in another order (the same)"),
    (r"devices/ben/\d/join/of-kim/history/[\w.]+ @kim:.+/content/.+",
     "kim was erased: Synapse shows what she said to those only who were there; Continuwuity knows no such rule, so the dump "
     "leaves it out for all (importer/docs/decisions.md)"),
    (r"devices/ben/\d/join/of-kim/relations/.+",
     "kim was erased: of her reaction, only that there was something is left"),
    (r"devices/hana/\d/join/of-kim/history/m\.room\.(create|name|power_levels|topic) @kim:.+/content/.+",
     "kim was erased: what she set and still holds is whole in Continuwuity's history; Synapse shows it whole as the room's state only"),
    (r"devices/\w+/\d/profiles/@kim:[^/]+/errcode",
     "kim was erased: Synapse has no profile of hers, Continuwuity an empty one (api/client/profile.rs:32)"),
    (r"devices/ben/\d/keys/master_keys/@ben:[^/]+/signatures",
     "Continuwuity shows ben who signed his key (service/users/mod.rs:207); Synapse shows a signature to its signer"),
    (r"(?:devices/(\w+)/\d/join/long|room\d+/(\w+))/history/m\.room\.member @(?:\1|\2):.+",
     "where not everybody may see everything, Continuwuity judges an event by the state before it and so hides from people how "
     "they were invited, came or left; Synapse always shows them (service/rooms/state_accessor/user_can.rs:74-105)"),
    (r"room\d+/\w+/history/m\.room\.history_visibility @.+",
     "Synapse shows an event that opens the history to those to whom it opens it; Continuwuity judges it by the state before "
     "(service/rooms/state_accessor/user_can.rs:74-105)"),
    (r"devices/\w+/\d/join/far/order",
     "of events that were sent at once, Synapse's /messages shows the deeper ones last; Continuwuity has one order, that of "
     "arrival (service/rooms/timeline/data.rs:171)"),
    (r"devices/\w+/\d/join/private/relations/.+",
     "Continuwuity's /relations goes one level deeper than asked (service/rooms/pdu_metadata/mod.rs:86-106)"),
    (r"room\d+/\w+/relations/.+",
     "Continuwuity takes a reply for a relation (service/rooms/timeline/append.rs:688); its /relations gives it where no type is asked for"),
]

CONTINUWUITY = Server(
    "Continuwuity", "continuwuity", "CONTINUWUITY_CONFIG",
    settings=lambda _database: ["allow_announcements_check = false"],
    open_registration=["yes_i_am_very_very_sure_i_want_an_open_registration_server_prone_to_abuse = true"],
    # It leaves out the changes of other people where there is no token (api/client/sync/v3/joined.rs:866-869).
    first_sync_has_device_lists=False,
    # It logs that (service/rooms/timeline/append.rs:699-712).
    refuses_rootless_replies=False,
    explained=CONTINUWUITY_EXPLAINED,
)

SERVERS = {server.command: server for server in [CONDUIT, CONTINUWUITY]}


def of(binary: Path) -> Server:
    """Which server a program is."""
    said = subprocess.run([binary, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
    server = SERVERS.get(said.partition(" ")[0])
    if server is None:
        raise SystemExit(f"{binary} is not known: it says {said.strip()!r} to --version")
    return server
