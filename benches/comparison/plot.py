"""The results as a picture: for each load one line of dots, one dot a proxy, with the span of its rounds."""

import statistics
from html import escape

from .report import PEER, cpu, quantile

COLOURS = {"kallback": "#06c", "nginx": "#080", "HAProxy": "#c60", "Pingora": "#808"}
OTHER_COLOUR = "#555"
LEFT, WIDTH, ROW, TOP = 490, 460, 44, 60


def draw(samples):
    """One SVG of two panels."""
    parts, top = panel("CPU for each request, nginx = 1 (left is better)", cpu_rows(samples), TOP)
    more, top = panel("p99 in ms, median of the rounds (left is better)", p99_rows(samples), top + 50)
    body = "\n".join([*legend(samples), *parts, *more])
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 60} {top}" '
            f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n')


def cpu_rows(samples):
    for scenario, proxies in samples.runs.items():
        if PEER in proxies:
            yield scenario, {proxy: samples.ratios(scenario, proxy, cpu) for proxy in proxies}


def p99_rows(samples):
    for scenario, proxies in samples.runs.items():
        if "open loop" in scenario:
            yield scenario, {proxy: [quantile(99)(run) for run in runs] for proxy, runs in proxies.items()}


def panel(title, rows, top):
    """From 0 to the largest median, with room; a span that goes beyond is cut off at the edge."""
    rows = list(rows)
    most = max((statistics.median(values) for _, proxies in rows for values in proxies.values()), default=1) * 1.25
    bottom = top + 20 + ROW * len(rows)

    def x(value):
        return LEFT + min(value / most, 1) * WIDTH

    parts = [f'<text x="10" y="{top}" font-weight="bold">{escape(title)}</text>']
    for tick in ticks(most):
        parts.append(f'<path d="M{x(tick):.1f} {top + 12}V{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>')
    for number, (scenario, proxies) in enumerate(rows):
        middle = top + 20 + ROW * number + ROW / 2
        parts.append(f'<text x="{LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end">{escape(scenario)}</text>')
        for place, (proxy, values) in enumerate(proxies.items()):
            parts += dot(proxy, values, middle + (place - (len(proxies) - 1) / 2) * 9, x)
    return parts, bottom + 30


def dot(proxy, values, y, x):
    colour = COLOURS.get(proxy, OTHER_COLOUR)
    return [f'<path d="M{x(min(values)):.1f} {y:.1f}H{x(max(values)):.1f}" stroke="{colour}"/>',
            f'<circle cx="{x(statistics.median(values)):.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>']


def ticks(most):
    """Five to ten round numbers from 0."""
    step = 10.0 ** -3
    while most / step > 10:
        step *= 2.5 if f"{step:e}".startswith("2") else 2
    return [step * number for number in range(int(most / step) + 1)]


def legend(samples):
    names = dict.fromkeys(proxy for proxies in samples.runs.values() for proxy in proxies)
    parts = []
    for place, name in enumerate(names):
        x = LEFT + place * 110
        parts.append(f'<circle cx="{x}" cy="20" r="4" fill="{COLOURS.get(name, OTHER_COLOUR)}"/>')
        parts.append(f'<text x="{x + 10}" y="24">{escape(name)}</text>')
    return parts
