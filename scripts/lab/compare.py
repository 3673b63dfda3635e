"""Comparing two snapshots: what differs must be explained here, or it is a fault of the move."""

import json
import re
from collections import Counter
from pathlib import Path

# A path of keys, as a pattern, and why it may differ, with the place in Conduit (d058dab7) that makes it so. "Not yet" is a
# fault that is known.
EXPLAINED = [
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
NOTHING = (None, "", [], {})
SHOWN = 60


def differences(before, after, path: tuple[str, ...] = ()):
    """Yields the path and both values of each smallest part that differs; `None` is a part that is missing."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from differences(before.get(key), after.get(key), (*path, key))
    elif path[-1:] == ("order",) and isinstance(before, list) and isinstance(after, list):
        # Which events there are is said next to it.
        common = set(before) & set(after)
        before, after = ([event for event in side if event in common] for side in (before, after))
        if before != after:
            yield "/".join(path), before, after
    elif before != after and not (before in NOTHING and after in NOTHING):
        yield "/".join(path), before, after


def explanation(path: str) -> str | None:
    return next((reason for pattern, reason in EXPLAINED if re.fullmatch(pattern, path)), None)


def report(first: Path, second: Path) -> int:
    """Prints what differs; returns how many differences nothing explains."""
    explained, unexplained = Counter(), []
    for path, before, after in differences(json.loads(first.read_text()), json.loads(second.read_text())):
        reason = explanation(path)
        if reason:
            explained[reason] += 1
        else:
            unexplained.append(f"{path}\n  before: {short(before)}\n  after:  {short(after)}")
    for reason, count in explained.items():
        print(f"explained, {count}: {reason}")
    print("\n".join(unexplained[:SHOWN]))
    print(f"{len(unexplained)} unexplained differences")
    return len(unexplained)


def short(value) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 300 else text[:300] + "…"
