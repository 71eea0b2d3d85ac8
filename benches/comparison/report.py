"""The samples as tables, and the goals held against them."""

import statistics
from dataclasses import dataclass

PEER = "nginx"


class Samples:
    """All runs: by scenario and proxy, one sample a round."""

    def __init__(self):
        self.runs = {}

    def add(self, scenario, proxy, sample):
        self.runs.setdefault(scenario, {}).setdefault(proxy, []).append(sample)

    def median(self, scenario, proxy, read):
        return statistics.median(read(sample) for sample in self.runs[scenario][proxy])

    def ratios(self, scenario, proxy, read, peer=PEER):
        """Against the peer in the same round, so that a slow minute of the machine hits both."""
        pairs = zip(self.runs[scenario][proxy], self.runs[scenario][peer])
        return [read(own) / read(other) for own, other in pairs if read(other)]

    def ratio(self, scenario, proxy, read, peer=PEER):
        return statistics.median(self.ratios(scenario, proxy, read, peer))


def cpu(sample):
    return sample.cpu_us_per_request


def throughput(sample):
    return sample.requests_per_second


def quantile(q):
    return lambda sample: sample.quantiles_ms.get(q, 0.0)


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def tables(samples):
    """One table a scenario."""
    lines = []
    for scenario, proxies in samples.runs.items():
        has_quantiles = any(sample.quantiles_ms for runs in proxies.values() for sample in runs)
        head = ["proxy", "CPU µs/request", f"CPU / {PEER}", "requests/s", f"requests/s / {PEER}"]
        head += ["p50 ms", "p99 ms", "p99.9 ms"] if has_quantiles else []
        head += ["failed"]
        lines += [f"### {scenario}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        for proxy, runs in proxies.items():
            cells = [proxy, spread([cpu(run) for run in runs])]
            for read in (cpu, throughput):
                cells += [] if read is cpu else [f"{samples.median(scenario, proxy, read):.0f}"]
                is_peer = proxy == PEER or PEER not in proxies
                cells.append("1" if is_peer else spread(samples.ratios(scenario, proxy, read)))
            if has_quantiles:
                cells += [f"{value:.2f}" if (value := samples.median(scenario, proxy, quantile(q))) else "–"
                          for q in (50, 99, 99.9)]
            cells.append(str(sum(run.failed for run in runs)))
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return lines


@dataclass
class Goal:
    """What is asked for and what was found; `found` is None where it was not measured."""

    what: str
    limit: float
    found: float | None
    at_least: bool = False
    unit: str = ""

    def holds(self):
        if self.found is None:
            return None
        return self.found >= self.limit if self.at_least else self.found <= self.limit

    def row(self):
        sign = "≥" if self.at_least else "≤"
        found = "not measured" if self.found is None else f"{self.found:.2f}{self.unit}"
        verdict = {True: "holds", False: "**does not hold**", None: "–"}[self.holds()]
        return f"| {self.what} | {sign} {self.limit:g}{self.unit} | {found} | {verdict} |"


def goal_table(goals):
    return ["| goal | asked | found | |", "|---|---|---|---|", *[goal.row() for goal in goals], ""]


def verdict(goals):
    """The last line."""
    held = sum(goal.holds() is True for goal in goals)
    missed = [goal.what for goal in goals if goal.holds() is False]
    unknown = [goal.what for goal in goals if goal.holds() is None]
    line = f"{held} of {len(goals)} goals hold"
    line += f"; not: {', '.join(missed)}" if missed else ""
    line += f"; not measured: {', '.join(unknown)}" if unknown else ""
    return line
