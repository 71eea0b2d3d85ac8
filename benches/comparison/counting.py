"""Instructions for each call of the hot functions, counted by callgrind, and the baseline that they are held against."""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

# The difference of two runs leaves out what starting and building the inputs costs.
FEW, MANY = 20, 120
RUN_SECONDS_MAX = 120
HEAD = """# Instructions for each call, as `benches/instructions --accept` counted them ({how}).
# One function a line: instructions, name.
"""


@dataclass
class Drift:
    """One function against its baseline; `was` or `now` is None where it is known on one side only."""

    name: str
    was: float | None
    now: float | None
    tolerated: float

    def verdict(self):
        if self.was is None:
            return "new"
        if self.now is None:
            return "gone"
        if self.now > self.was * (1 + self.tolerated):
            return "slower"
        if self.now < self.was * (1 - self.tolerated):
            return "faster"
        return "same"

    def row(self):
        was, now = (f"{value:,.0f}" if value is not None else "–" for value in (self.was, self.now))
        change = f"{(self.now / self.was - 1) * 100:+.1f} %" if self.was and self.now is not None else ""
        return f"{self.verdict():<7} {was:>12} {now:>12} {change:>9}  {self.name}"


def count_all(program):
    """By name. Several at once: what others do to the machine does not change a count."""
    names = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counted = pool.map(lambda name: per_call(collected(program, name, FEW), collected(program, name, MANY)), names)
        return dict(zip(names, counted))


def per_call(few, many):
    return (many - few) / (MANY - FEW)


def collected(program, name, calls):
    """All instructions of a run with so many calls."""
    ran = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, name, str(calls)],
        check=True, capture_output=True, text=True, timeout=RUN_SECONDS_MAX)
    return read_collected(ran.stderr)


def read_collected(text):
    return int(re.search(r"Collected : (\d+)", text)[1])


def compare(baseline, found, tolerated):
    """In the baseline's order, what is new last."""
    names = [*baseline, *(name for name in found if name not in baseline)]
    return [Drift(name, baseline.get(name), found.get(name), tolerated) for name in names]


def write(found, how):
    return HEAD.format(how=how) + "".join(f"{count:.0f} {name}\n" for name, count in found.items())


def read(text):
    lines = (line.partition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(count) for count, _, name in lines}


def how_of(text):
    """Compiler and callgrind that a baseline was counted with."""
    found = re.search(r"counted them \((.*)\)", text)
    return found[1] if found else "unknown"


def verdict(drifts):
    """The last line."""
    by_verdict = {}
    for drift in drifts:
        by_verdict.setdefault(drift.verdict(), []).append(drift.name)
    line = f"{len(by_verdict.pop('same', []))} of {len(drifts)} functions within {drifts[0].tolerated:.0%}"
    for what, names in by_verdict.items():
        line += f"; {what}: {', '.join(names)}"
    return line
