"""The queries of deploy/grafana/kallback.json, with Grafana's variables filled in."""

import json
import pathlib

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
FILE = REPOSITORY / "deploy/grafana/kallback.json"
COLUMNS = 24


class Dashboard:
    def __init__(self):
        self.json = json.loads(FILE.read_text())
        self.panels = self.json["panels"]
        self.variables = {variable["name"]: variable for variable in self.json["templating"]["list"]}

    def faults_of_form(self):
        """What Grafana would show wrongly or not at all."""
        faults = []
        taken = {}
        for panel in self.panels:
            place = panel["gridPos"]
            if place["x"] + place["w"] > COLUMNS:
                faults.append(f"{panel['title']} stands out at the right")
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    if (other := taken.setdefault((x, y), panel["title"])) != panel["title"]:
                        faults.append(f"{panel['title']} lies over {other}")
            if not panel.get("description"):
                faults.append(f"{panel['title']} does not say what it shows")
        for what in ("id", "title"):
            if len({panel[what] for panel in self.panels}) < len(self.panels):
                faults.append(f"two panels have one {what}")
        rows = max(y for _, y in taken) + 1
        if len(taken) < rows * COLUMNS:
            faults.append("there are holes between the panels")
        # 30 pixels a row and 8 between them: what fits under the bars of Grafana and a browser on 1080 lines.
        if rows > 25:
            faults.append(f"{rows} rows are more than one screen")
        return faults

    def queries(self):
        """(where it stands, expression, whether it asks for one moment)"""
        for panel in self.panels:
            for target in panel["targets"]:
                yield f"{panel['title']} {target['refId']}", target["expr"], target["instant"]
        for note in self.json["annotations"]["list"]:
            yield f"annotation {note['name']}", note["expr"], False

    def label_queries(self):
        """(variable, series, label) of `label_values(series, label)`"""
        for name, variable in self.variables.items():
            if variable["type"] == "query":
                series, label = variable["definition"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
                yield name, series, label


def filled_in(expression, values, range_seconds, rate_seconds):
    """Grafana's own substitution: several values of a variable become one pattern."""
    for name, chosen in values.items():
        expression = expression.replace(f"${name}", "|".join(chosen))
    expression = expression.replace("$__range", f"{range_seconds}s").replace("$__rate_interval", f"{rate_seconds}s")
    if "$" in expression:
        raise ValueError(f"a variable that nobody fills in: {expression}")
    return expression
