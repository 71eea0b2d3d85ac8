"""The samples of all rounds, and the tables made of them."""

import statistics

PEER = "nginx"
QUANTILES = (50, 99, 99.9)


class Samples:
    """All runs: by scenario and proxy, one sample a round."""

    def __init__(self):
        self.runs = {}

    def add(self, scenario, proxy, sample):
        self.runs.setdefault(scenario, {}).setdefault(proxy, []).append(sample)

    def has(self, scenario, proxy):
        return bool(self.runs.get(scenario, {}).get(proxy))

    def drop(self, scenario, proxy):
        """What is not there in every round cannot be set against the others of its round."""
        self.runs.get(scenario, {}).pop(proxy, None)

    def median(self, scenario, proxy, read):
        return statistics.median(read(sample) for sample in self.runs[scenario][proxy])

    def ratios(self, scenario, proxy, read, peer=PEER):
        """Against the peer in the same round, so that a slow minute of the machine hits both."""
        pairs = zip(self.runs[scenario][proxy], self.runs[scenario][peer])
        return [read(own) / read(other) for own, other in pairs]

    def ratio(self, scenario, proxy, read, peer=PEER):
        return statistics.median(self.ratios(scenario, proxy, read, peer))

    def median_difference(self, scenario, proxy, read, peer=PEER):
        pairs = zip(self.runs[scenario][proxy], self.runs[scenario][peer])
        return statistics.median(read(own) - read(other) for own, other in pairs)


def cpu(sample):
    return sample.cpu_us_per_request


def throughput(sample):
    return sample.requests_per_second


def quantile(q):
    return lambda sample: sample.quantiles_ms[q]


def spread(values, digits=2):
    """The median and, in brackets, the smallest and the largest."""
    middle, least, most = (f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({least}–{most})"


def tables(samples):
    """One table a scenario."""
    head = ["proxy", "CPU µs/request", f"CPU / {PEER}", "requests/s", f"requests/s / {PEER}", "p50 ms", "p99 ms",
            "p99.9 ms", "failed"]
    lines = []
    for scenario, proxies in samples.runs.items():
        lines += [f"#### {scenario}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        lines += ["| " + " | ".join(row(samples, scenario, proxy)) + " |" for proxy in proxies]
        lines.append("")
    return lines


def row(samples, scenario, proxy):
    runs = samples.runs[scenario][proxy]
    beside_peer = proxy != PEER and samples.has(scenario, PEER)

    def against_peer(read):
        return spread(samples.ratios(scenario, proxy, read)) if beside_peer else "1"

    return [
        proxy,
        spread([cpu(run) for run in runs], 1), against_peer(cpu),
        spread([throughput(run) for run in runs], 0), against_peer(throughput),
        *(spread([quantile(q)(run) for run in runs]) for q in QUANTILES),
        str(sum(run.failed for run in runs)),
    ]
