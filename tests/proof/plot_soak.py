"""Draws the figures of a soak run: python3 plot_soak.py soak.csv soak.svg"""

import csv
import sys

WIDTH, HEIGHT, LEFT, GAP = 800, 150, 90, 40
PANELS = [
    ("memory, MiB", lambda row: float(row["resident_bytes"]) / 2**20),
    ("ledger, MiB", lambda row: float(row["ledger_bytes"]) / 2**20),
    ("callbacks", lambda row: float(row["calls"])),
    ("late", lambda row: float(row["late"])),
]


def panel(rows, top, title, value):
    """One curve over time, from 0 to its largest value; grey where the shop fails."""
    seconds = [float(row["seconds"]) for row in rows]
    values = [value(row) for row in rows]
    most, last = max(values + [1]), max(seconds + [1])
    x = lambda at: LEFT + at / last * WIDTH
    y = lambda height: top + HEIGHT - height / most * HEIGHT
    parts = []
    for at, until, row in zip(seconds, seconds[1:] + [last], rows):
        if row["shop_fails"] == "1":
            parts.append(f'<rect x="{x(at):.1f}" y="{top}" width="{x(until) - x(at):.1f}" height="{HEIGHT}" fill="#ddd"/>')
    points = " ".join(f"{x(at):.1f},{y(height):.1f}" for at, height in zip(seconds, values))
    parts.append(f'<polyline points="{points}" fill="none" stroke="#06c" stroke-width="1.5"/>')
    parts.append(f'<path d="M{LEFT} {top}V{top + HEIGHT}H{LEFT + WIDTH}" fill="none" stroke="#333"/>')
    parts.append(f'<text x="{LEFT}" y="{top - 6}">{title}</text>')
    parts.append(f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:.0f}</text>')
    parts.append(f'<text x="{LEFT + WIDTH}" y="{top + HEIGHT + 14}" text-anchor="end">{last:.0f} s</text>')
    return parts


def main():
    source, target = sys.argv[1:]
    with open(source, newline="") as lines:
        rows = list(csv.DictReader(lines))
    parts = []
    for number, (title, value) in enumerate(PANELS):
        parts += panel(rows, 30 + number * (HEIGHT + GAP), title, value)
    height = 30 + len(PANELS) * (HEIGHT + GAP)
    with open(target, "w") as svg:
        svg.write(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}" '
            'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>\n'
            + "\n".join(parts)
            + "\n</svg>\n"
        )


main()
