"""Comparing two snapshots: what differs must be explained in `servers.py`, or it is a fault of the move."""

import json
import re
from collections import Counter
from pathlib import Path

from servers import Server

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


def explanation(server: Server, path: str) -> str | None:
    return next((reason for pattern, reason in server.explained if re.fullmatch(pattern, path)), None)


def report(server: Server, first: Path, second: Path) -> int:
    """Prints what differs on `server`; returns how many differences nothing explains."""
    explained, unexplained = Counter(), []
    for path, before, after in differences(json.loads(first.read_text()), json.loads(second.read_text())):
        reason = explanation(server, path)
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
