"""Curves as a picture: one panel beside the other, each with a curve for every series."""

import math
from html import escape

WIDTH, HEIGHT, LEFT, TOP, GAP = 330, 200, 60, 50, 90
COLOURS = ["#06c", "#c60", "#393", "#909"]


def draw(file, panels):
    """`panels`: title, what the horizontal axis shows, and by name the points of each series. From 0 upwards; the
    horizontal axis shows each step ten times as large as the one before at the same distance."""
    parts = []
    for number, (title, across, series) in enumerate(panels):
        parts += panel(LEFT + number * (WIDTH + GAP), title, across, series)
    width, height = LEFT + len(panels) * (WIDTH + GAP), TOP + HEIGHT + 60
    file.parent.mkdir(exist_ok=True)
    file.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
                    'font-size="12"><rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n")


def panel(left, title, across, series):
    points = [point for curve in series.values() for point in curve]
    most = max([value for _, value in points] + [1e-9]) * 1.1
    places = sorted({place for place, _ in points})
    first, last = math.log(places[0] + 1), math.log(places[-1] + 1)
    x = lambda place: left + (math.log(place + 1) - first) / ((last - first) or 1) * WIDTH
    y = lambda value: TOP + HEIGHT - value / most * HEIGHT
    parts = [f'<path d="M{left} {TOP}V{TOP + HEIGHT}H{left + WIDTH}" fill="none" stroke="#333"/>',
             f'<text x="{left}" y="{TOP - 26}" font-weight="bold">{escape(title)}</text>',
             f'<text x="{left + WIDTH / 2}" y="{TOP + HEIGHT + 40}" text-anchor="middle">{escape(across)}</text>',
             f'<text x="{left - 6}" y="{TOP + 10}" text-anchor="end">{most:.3g}</text>',
             f'<text x="{left - 6}" y="{TOP + HEIGHT}" text-anchor="end">0</text>']
    parts += [f'<text x="{x(place):.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{place:,}</text>'
              for place in places]
    for number, (name, curve) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in curve)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{x(place):.1f}" cy="{y(value):.1f}" r="2.5" fill="{colour}"/>' for place, value in curve]
        parts.append(f'<text x="{left + number * 110}" y="{TOP - 8}" fill="{colour}">{escape(name)}</text>')
    return parts
