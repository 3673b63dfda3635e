"""Results as Markdown."""

import growth


def markdown(results: dict) -> str:
    servers = [found for name, found in results.items() if name != "migration"]
    imported = [found for found in servers if "import" in found]
    parts = [dumps(servers), imports(imported), verifications(imported), cores(imported)]
    if "migration" in results:
        parts.append(migration(results["migration"]))
    parts.append(growth.markdown(growth.series(results)))
    return "\n\n".join(part for part in parts if part)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def dumps(servers: list[dict]) -> str:
    rows = [[f"{found['engine']}, {found['events']:,} events", seconds(found["dump"]),
             *against(found, "client"), *against(found, "client_by_room"),
             f"{found['events'] / found['dump']['seconds']:,.0f}", memory(found["dump"])] for found in servers]
    head = ["dump", "seconds", "client, whole tables", "ratio", "client, by room", "ratio", "events/s", "MiB"]
    return table(head, rows)


def against(found: dict, reference: str) -> list[str]:
    return [seconds(found[reference]), f"{found['dump']['seconds'] / found[reference]['seconds']:.1f}"]


def imports(servers: list[dict]) -> str:
    rows = []
    for found in servers:
        done, reference = found["import"]["seconds"], found["reference"]
        rows.append([f"{found['events']:,} events", seconds(found["import"]), f"{reference['bulk']:.1f}",
                     f"{100 * reference['bulk'] / done:.0f} %", f"{reference['raw']:.1f}",
                     f"{reference['rows'] / done:,.0f}", memory(found["import"])])
    return table(["import", "seconds", "bulk load", "of its rate", "raw write", "rows/s", "MiB"], rows) if rows else ""


def verifications(servers: list[dict]) -> str:
    rows = []
    for found in servers:
        took, made, scan = found["verify"]["seconds"], found["import"]["seconds"], found["reference"]["scan"]
        rows.append([f"{found['events']:,} events", f"{took:.1f}", f"{took / made:.2f}", f"{scan:.1f}", f"{took / scan:.1f}",
                     memory(found["verify"])])
    return table(["verify", "seconds", "of the import", "plain scan", "ratio", "MiB"], rows) if rows else ""


def cores(servers: list[dict]) -> str:
    """How much faster two cores are than one."""
    rows = []
    for found in servers:
        for name, (one, two) in found["cores"].items():
            rows.append([f"{name}, {found['events']:,} events", seconds(one), seconds(two),
                         f"{one['seconds'] / two['seconds']:.2f}"])
    return table(["cores", "one, seconds", "two, seconds", "ratio"], rows) if rows else ""


def migration(found: dict) -> str:
    head = f"`migrate` of 1,200 users, 500 rooms, 51,000 events, 2,700 media files ({found['media_bytes'] / 1e6:.0f} MB): " \
        f"{found['migrate']['seconds']:.1f} s, {memory(found['migrate'])} MiB. With the files copied beforehand: " \
        f"{found['prepared']['seconds']:.1f} s."
    return "\n".join([head, "", *(f"* {step}: {took:.1f} s" for step, took in found["steps"].items())])


def seconds(spent: dict) -> str:
    return f"{spent['seconds']:.1f}"


def memory(spent: dict) -> str:
    return f"{spent['memory']:.0f}"
