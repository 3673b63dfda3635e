"""What was expected and what was seen, whole."""

from collections import Counter

import compare
import servers


# What a stock Conduit does wherever its data come from.
OLDEST_FIRST = ("of a thread, Conduit's /relations gives the oldest first where the newest are asked for, and says that there is more "
                "(service/rooms/pdu_metadata/mod.rs:127-180, 218)")
KNOWN = {"endless/thread": OLDEST_FIRST, "order/thread": OLDEST_FIRST}


class Judge:
    """Prints a line for each thing that was looked at."""

    def __init__(self, server: servers.Server):
        self.failed, self.server = 0, server

    def so(self, what: str, good: bool, detail="") -> None:
        print(f"{'ok' if good else 'FAILED'}: {what}{'' if good else f': {detail}'}", flush=True)
        self.failed += not good

    def same(self, what: str, expected, found) -> None:
        """Two values, of which the smallest parts that differ are told."""
        different = [f"{path}: {before!r} instead of {after!r}"
                     for path, after, before in compare.differences({"": expected}, {"": found})]
        self.so(what, not different, "; ".join(different[:10]))

    def scrolled(self, who: str, user: str, expected: dict[str, list[str]], found: dict[str, dict]) -> None:
        """`expected`: each room as Synapse tells it, `type sender event`. `found`: each as the client shows it."""
        faults, events, explained = [], 0, Counter()
        for room, told in expected.items():
            path = f"devices/{user}/0/join/{room}"
            for where, fault in differences(told, found.get(room, {"main": [], "threads": {}, "applied": [], "endless": [room]})):
                reason = (KNOWN.get(where) if self.server is servers.CONDUIT else None) or compare.explanation(self.server, f"{path}/{where}")
                if reason:
                    explained[reason] += 1
                else:
                    faults.append(f"{room}: {fault}")
            events += len(told)
        for reason, count in explained.items():
            print(f"explained, {count}: {who}: {reason}")
        what = f"{who} scrolls to the beginning of {len(expected)} rooms: their {events} events, each once, in order"
        self.so(what, not faults, "; ".join(faults[:10]))


def differences(told: list[str], shown: dict):
    """Yields where and what: missing, too many, twice, in another order."""
    names = {line.rpartition(" ")[2]: line for line in told}
    main, threads = shown["main"], shown["threads"]
    seen = set(main).union(shown["applied"], *threads.values())
    for event in names.keys() - seen:
        yield f"history/{names[event]}", f"{names[event]} is missing"
    for event in seen - names.keys():
        yield "history/?", f"{event} was not there before"
    for place in shown["endless"]:
        yield f"endless/{'thread' if place in threads else 'room'}", f"{place} has no beginning"
    for place, events in {"the room": main, **threads}.items():
        for event, count in Counter(events).items():
            if count > 1:
                yield "twice", f"{names.get(event, event)} is there {count} times in {place}"
        found = [event for event in dict.fromkeys(events) if event in names]
        order = [event for event in names if event in set(found)]
        if found != order:
            at = next(number for number, pair in enumerate(zip(found, order, strict=True)) if pair[0] != pair[1])
            what = f"{place} has {names[found[at]]} in the place of {names[order[at]]} ({at})"
            yield "order/thread" if place in threads else "order", what
