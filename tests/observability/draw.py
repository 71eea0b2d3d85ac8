"""Draws deploy/grafana/kallback.json as one HTML page: its panels where they stand in the grid, with what their own
queries find. It is not Grafana; it is there to see whether the dashboard can be read."""

import html
import math

ROW, GAP, WIDTH = 30, 8, 1904
BAR = 46
COLOURS = {"green": "#73bf69", "yellow": "#f2cc0c", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2", "purple": "#b877d9"}
PALETTE = [COLOURS[name] for name in ("green", "yellow", "blue", "orange", "red", "purple")] + ["#8ab8ff", "#ffa6b0", "#96d98d"]
STYLE = """
body { margin: 0; background: #111217; color: #ccccdc; font: 13px "DejaVu Sans", sans-serif; }
header { position: absolute; left: 8px; top: 12px; font-size: 15px } header span { color: #8e8e9a; font-size: 12px; margin-left: 14px }
section { position: absolute; background: #181b1f; border: 1px solid #2a2d33; border-radius: 2px; box-sizing: border-box; overflow: hidden }
h2 { font-size: 13px; font-weight: 500; margin: 6px 8px 0 }
.stat { text-align: center; color: #111217 } .stat h2 { text-align: left } .stat b { display: block; font-size: 30px; margin-top: 10px }
table { border-collapse: collapse; width: 100%; margin-top: 4px } th { text-align: right; font-weight: 500; color: #6e9fff }
td, th { padding: 3px 8px; border-bottom: 1px solid #2a2d33; text-align: right; white-space: nowrap } td:first-child, th:first-child { text-align: left }
.gauge { display: inline-block; width: 120px; height: 12px; background: #2a2d33; margin-right: 8px; vertical-align: middle } .value { display: inline-block; width: 46px } .gauge i { display: block; height: 12px }
.legend { position: absolute; bottom: 4px; left: 10px; right: 10px; font-size: 11px; white-space: nowrap; overflow: hidden; color: #ccccdc }
.legend i { display: inline-block; width: 12px; height: 4px; margin: 0 4px 3px 10px; } .none { text-align: center; margin-top: 50px; color: #8e8e9a }
svg { display: block } svg text { fill: #8e8e9a; font-size: 10px }
"""


def page(dashboard, find_now, find_over_time, start, end, clock):
    """`find_now(expression)` and `find_over_time(expression)` ask Prometheus, `clock(time)` writes a time."""
    drawn = []
    for panel in dashboard.panels:
        place = panel["gridPos"]
        column = (WIDTH + GAP) / 24
        left, top = 8 + place["x"] * column, BAR + place["y"] * (ROW + GAP)
        width, height = place["w"] * column - GAP, place["h"] * (ROW + GAP) - GAP
        if panel["type"] == "stat":
            look, inside = stat(panel, find_now)
        elif panel["type"] == "table":
            look, inside = "", table(panel, find_now)
        else:
            look, inside = "", time_series(panel, find_over_time, (start, end), (width, height), clock)
        style = f"left:{left:.0f}px;top:{top:.0f}px;width:{width:.0f}px;height:{height:.0f}px;{look}"
        drawn.append(f'<section class="{panel["type"]}" style="{style}"><h2>{html.escape(panel["title"])}</h2>{inside}</section>')
    title = html.escape(dashboard.json["title"])
    note = f"{clock(start)} to {clock(end)}, drawn by tests/observability from deploy/grafana/kallback.json; not by Grafana"
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><header>{title}<span>{note}</span></header>{''.join(drawn)}"


def stat(panel, find_now):
    options = panel["fieldConfig"]["defaults"]
    found = [value for _, value in find_now(panel["targets"][0]["expr"]) if math.isfinite(value)]
    if not found:
        return "background:#2a2d33;color:#ccccdc", f"<b>{options.get('noValue', 'No data')}</b>"
    texts = {key: mapped["text"] for mapping in options["mappings"] for key, mapped in mapping["options"].items()}
    text = texts.get(f"{found[0]:g}") or written(found[0], options)
    return f"background:{colour_of(found[0], options)}", f"<b>{text}</b>"


def table(panel, find_now):
    """Grafana's transformations `merge` (one row for each kind) and `organize` (names and order of columns)."""
    organize = next(step["options"] for step in panel["transformations"] if step["id"] == "organize")
    rows = {}
    for target in panel["targets"]:
        for labels, value in find_now(target["expr"]):
            rows.setdefault(labels["kind"], {})[f"Value #{target['refId']}"] = value
    columns = sorted((name for name in organize["indexByName"] if name != "kind"), key=organize["indexByName"].get)
    names = {column: organize["renameByName"].get(column, column) for column in columns}
    options = {column: cell_options(panel, names[column]) for column in columns}
    back = {name: column for column, name in names.items()}
    sort = panel["options"]["sortBy"][0]
    ordered = sorted(rows, key=lambda kind: rows[kind].get(back[sort["displayName"]], -math.inf), reverse=sort["desc"])
    head = "".join(f"<th>{html.escape(names[column])}</th>" for column in columns)
    body = []
    for kind in ordered:
        cells = "".join(cell(rows[kind].get(column), options[column]) for column in columns)
        body.append(f"<tr><td>{kind}</td>{cells}</tr>")
    return f"<table><tr><th>kind</th>{head}</tr>{''.join(body)}</table>"


def cell_options(panel, name):
    options = dict(panel["fieldConfig"]["defaults"])
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == name:
            options.update({change["id"]: change["value"] for change in override["properties"]})
    return options


def cell(value, options):
    if value is None or not math.isfinite(value):
        return f"<td>{options['noValue']}</td>"
    text, colour = written(value, options), colour_of(value, options)
    look = options.get("custom.cellOptions", {}).get("type")
    if look == "color-background":
        return f'<td style="background:{colour};color:#111217">{text}</td>'
    if look == "gauge":
        share = 100 * min(max(value / options["max"], 0), 1)
        return f'<td><span class="gauge"><i style="width:{share:.0f}%;background:{colour}"></i></span><span class="value" style="color:{colour}">{text}</span></td>'
    return f"<td>{text}</td>"


def time_series(panel, find_over_time, span, size, clock):
    options = panel["fieldConfig"]["defaults"]
    fixed = {}
    right_of = set()
    for override in panel["fieldConfig"]["overrides"]:
        for change in override["properties"]:
            if change["id"] == "color":
                fixed[override["matcher"]["options"]] = COLOURS[change["value"]["fixedColor"]]
            if change["id"] == "custom.axisPlacement":
                right_of.add(override["matcher"]["options"])
    lines = []
    for target in panel["targets"]:
        for labels, points in find_over_time(target["expr"]):
            name = target["legendFormat"]
            for label, value in labels.items():
                name = name.replace("{{" + label + "}}", value)
            points = [(at, value) for at, value in points if math.isfinite(value)]
            if points:
                colour = fixed.get(name, PALETTE[len(lines) % len(PALETTE)])
                lines.append((name, colour, points, target["refId"] in right_of))
    if not lines:
        return f'<p class="none">{options["noValue"]}</p>'
    legend = "".join(f'<i style="background:{colour}"></i>{html.escape(name)}' for name, colour, _, _ in lines)
    return f'{axes_and_lines(options, lines, span, size, clock)}<p class="legend" style="margin:0">{legend}</p>'


def axes_and_lines(options, lines, span, size, clock):
    left, right, top, bottom = 52, 46 if any(line[3] for line in lines) else 14, 8, 44
    width, height = size[0] - left - right, size[1] - 26 - top - bottom
    start, end = span
    across = lambda at: left + width * (at - start) / (end - start)
    is_stacked = options["custom"]["stacking"]["mode"] == "normal"
    drawn = []
    limits = [step["value"] for step in options["thresholds"]["steps"] if step["value"] is not None]
    is_marked = options["custom"]["thresholdsStyle"]["mode"] == "line"
    for is_right in (False, True):
        mine = [line for line in lines if line[3] == is_right]
        if not mine:
            continue
        highest = top_of(mine, is_stacked)
        if is_marked:
            # The limit is what one compares with, so it is always in the picture.
            highest = max([highest, *(1.1 * limit for limit in limits)])
        steps = neat_steps(highest)
        highest = max(highest, steps[-1])
        up = lambda value, highest=highest: top + height * (1 - min(value, highest) / highest)
        unit = {"unit": "s"} if is_right else options
        for step in steps:
            at, anchor = (left + width + 6, "start") if is_right else (left - 6, "end")
            drawn.append(f'<text x="{at}" y="{up(step) + 3:.1f}" text-anchor="{anchor}">{written(step, unit, True)}</text>')
            if not is_right:
                drawn.append(f'<path d="M{left} {up(step):.1f}h{width}" stroke="#2a2d33"/>')
        drawn += bars(mine, across, up, width) if options["custom"]["drawStyle"] == "bars" else curves(mine, across, up, is_right)
        if is_marked:
            for limit in limits:
                drawn.append(f'<path d="M{left} {up(limit):.1f}h{width}" stroke="{colour_of(limit, options)}" stroke-dasharray="6 4"/>')
    for quarter in range(1, 4):
        at = start + (end - start) * quarter / 4
        drawn.append(f'<text x="{across(at):.1f}" y="{top + height + 15}" text-anchor="middle">{clock(at)}</text>')
    return f'<svg width="{size[0]:.0f}" height="{size[1] - 26:.0f}">{"".join(drawn)}</svg>'


def top_of(lines, is_stacked):
    if not is_stacked:
        return max(value for line in lines for _, value in line[2]) or 1
    sums = {}
    for line in lines:
        for at, value in line[2]:
            sums[at] = sums.get(at, 0) + value
    return max(sums.values()) or 1


def neat_steps(highest):
    size = 10 ** math.floor(math.log10(highest))
    step = next(step for step in (size / 5, size / 2, size, 2 * size, 5 * size) if highest / step <= 5)
    return [step * number for number in range(int(highest / step) + 1)]


def bars(lines, across, up, width):
    drawn, below = [], {}
    times = sorted({at for line in lines for at, _ in line[2]})
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    broad = max(1.5, 0.9 * (across(times[0] + min(gaps)) - across(times[0]))) if gaps else 3
    for _, colour, points, _ in lines:
        for at, value in points:
            if value > 0:
                foot = below.get(at, 0)
                below[at] = foot + value
                drawn.append(f'<rect x="{across(at) - broad / 2:.1f}" y="{up(foot + value):.1f}" width="{broad:.1f}" height="{up(foot) - up(foot + value):.1f}" fill="{colour}"/>')
    return drawn


def curves(lines, across, up, is_dashed):
    drawn = []
    for _, colour, points, _ in lines:
        gaps = [later - earlier for (earlier, _), (later, _) in zip(points, points[1:])]
        usual = min(gaps, default=1)
        path, last = "", None
        for place, (at, value) in enumerate(points):
            is_apart = last is None or at - last > 1.5 * usual
            is_lonely = is_apart and (place + 1 == len(points) or points[place + 1][0] - at > 1.5 * usual)
            if is_lonely:
                drawn.append(f'<circle cx="{across(at):.1f}" cy="{up(value):.1f}" r="2.5" fill="{colour}"/>')
            path += f"{'M' if is_apart else 'L'}{across(at):.1f} {up(value):.1f}"
            last = at
        dash = ' stroke-dasharray="4 4"' if is_dashed else ""
        drawn.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
    return drawn


def colour_of(value, options):
    reached = [step for step in options["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
    return COLOURS[reached[-1]["color"]]


def written(value, options, is_axis=False):
    unit, decimals = options.get("unit", "short"), None if is_axis else options.get("decimals")
    if unit == "percentunit":
        return f"{100 * value:.{decimals or 0}f}%"
    if unit == "s":
        for limit, name in ((172800, "days"), (7200, "hours"), (120, "min")):
            if value >= limit:
                return f"{value / {'days': 86400, 'hours': 3600, 'min': 60}[name]:.1f} {name}"
        if 0 < value < 1:
            return f"{1000 * value:.0f} ms"
        return f"{value:.{decimals}f} s" if decimals is not None else f"{value:g} s"
    return f"{value:.{decimals}f}" if decimals is not None else f"{value:g}"
