"""Comparing two snapshots: what differs must be explained here, or it is a fault of the move."""

import json
import re
from collections import Counter
from pathlib import Path

# A path of keys, as a pattern, and why it may differ. "Not yet" is a fault that is known.
EXPLAINED = [
    (r"devices/\w+/\d/(join|leave)/v[12]", "Conduit can't hold rooms of versions 1 and 2; the importer warns of each"),
    (r"devices/ada/\d/join/![^/]+", "Conduit's own room for administrators, made at its first start"),
    (r"devices/\w+/\d/join/\w+/receipts/.+", "not yet: receipts; the read markers are there"),
    (r"devices/dan/\d/join/public/history/[\w.]+ @eve:.+",
     "dan ignores eve: Synapse hides what she says, with Conduit the client does"),
    (r"devices/ben/\d/keys/master_keys/@ben:[^/]+/signatures",
     "Conduit shows ben who signed his key; Synapse shows a signature to its signer"),
    (r"devices/(\w+)/\d/join/long/history/m\.room\.member @\1:.+",
     "in a room whose history is for the joined, Conduit judges a join by the state before it and hides one's own"),
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
