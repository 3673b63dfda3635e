"""How time and memory grow with the number of events: a line through the points, and a drawing."""

import math

STEPS = ("dump", "import", "verify")
WIDTH, HEIGHT, LEFT, TOP, GAP = 720, 300, 64, 34, 90
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f } .axis { stroke: #8c959f } .grid { stroke: #8c959f; opacity: .25 }
.dump { stroke: #0969da; fill: #0969da } .import { stroke: #bc4c00; fill: #bc4c00 } .verify { stroke: #1a7f37; fill: #1a7f37 }
polyline { fill: none !important; stroke-width: 2 } text.dump, text.import, text.verify { stroke: none }
@media (prefers-color-scheme: dark) {
  text { fill: #d1d9e0 } .dump { stroke: #4493f8; fill: #4493f8 } .import { stroke: #f0883e; fill: #f0883e }
  .verify { stroke: #3fb950; fill: #3fb950 }
}
"""


def series(results: dict) -> dict[str, list[tuple[int, float, float]]]:
    """Events, seconds, MiB of each step, by the first engine's servers."""
    servers = sorted((found for found in results.values() if "import" in found), key=lambda found: found["events"])
    return {step: [(found["events"], found[step]["seconds"], found[step]["memory"]) for found in servers] for step in STEPS}


def line(points: list[tuple[int, float, float]]) -> tuple[float, float, float]:
    """Seconds at the beginning, seconds per event, and how much of the variation the line explains."""
    count = len(points)
    mean_x, mean_y = (sum(point[axis] for point in points) / count for axis in (0, 1))
    spread = sum((x - mean_x) ** 2 for x, _, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y, _ in points) / spread
    start = mean_y - slope * mean_x
    rest = sum((y - start - slope * x) ** 2 for x, y, _ in points)
    return start, slope, 1 - rest / sum((y - mean_y) ** 2 for _, y, _ in points)


def markdown(found: dict) -> str:
    if len(found["dump"]) < 2:
        return ""
    lines = ["| growth | " + " | ".join(f"{x:,}" for x, _, _ in found["dump"]) + " | per event, by the line | R² |"]
    lines.append("|---|" + "--:|" * (len(found["dump"]) + 2))
    for step, points in found.items():
        _, slope, explained = line(points)
        cells = [f"{y:.1f} s, {memory:.0f} MiB" for _, y, memory in points]
        lines.append(f"| {step} | " + " | ".join(cells) + f" | {slope * 1e6:.1f} µs | {explained:.4f} |")
    return "\n".join(lines)


def svg(found: dict) -> str:
    """Time and memory over events, on logarithmic axes."""
    every = [point for points in found.values() for point in points]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + 60}" role="img" '
             f'aria-label="Time and memory by number of events"><style>{STYLE}</style>']
    width = (WIDTH - 2 * LEFT - GAP) / 2
    low, high = (math.log10(limit(x for x, _, _ in every)) for limit in (min, max))
    for panel, (axis, title) in enumerate([(1, "seconds"), (2, "MiB, at most")]):
        left = LEFT + panel * (width + GAP)
        bottom = math.floor(math.log10(min(point[axis] for point in every)))
        top = max(bottom + 1, math.ceil(math.log10(max(point[axis] for point in every))))

        def place(x: float, y: float, left=left, bottom=bottom, top=top) -> tuple[float, float]:
            return (left + width * (math.log10(x) - low) / max(high - low, 1e-9),
                    TOP + HEIGHT * (top - math.log10(y)) / (top - bottom))

        parts.append(f'<text x="{left}" y="18">{title}</text>')
        for power in range(bottom, top + 1):
            y = place(1, 10 ** power)[1]
            parts.append(f'<line class="grid" x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{label(10 ** power)}</text>')
        for x in sorted({x for x, _, _ in every}):
            parts.append(f'<text x="{place(x, 1)[0]:.1f}" y="{TOP + HEIGHT + 20}" text-anchor="middle">{label(x)}</text>')
        parts.append(f'<line class="axis" x1="{left}" x2="{left + width}" y1="{TOP + HEIGHT}" y2="{TOP + HEIGHT}"/>')
        for step, points in found.items():
            places = [place(point[0], point[axis]) for point in points]
            parts.append(f'<polyline class="{step}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
            parts += [f'<circle class="{step}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places]
    for number, step in enumerate(found):
        parts.append(f'<text class="{step}" x="{LEFT + number * 90}" y="{HEIGHT + TOP + 44}">{step}</text>')
    parts.append(f'<text x="{LEFT + 300}" y="{HEIGHT + TOP + 44}">events; both axes logarithmic</text></svg>')
    return "\n".join(parts) + "\n"


def label(number: float) -> str:
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:g}{name}"
    return f"{number:g}"
