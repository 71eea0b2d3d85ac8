"""Nanoseconds of single functions, from the benches of criterion."""

import re
import subprocess

BENCHES = ("verify", "recognise")
SECONDS_MAX = 180
UNITS_NS = {"ps": 0.001, "ns": 1, "µs": 1000, "ms": 1e6}


def measure(root, say):
    found = {}
    for bench in BENCHES:
        say(f"cargo bench --bench {bench}")
        command = ["cargo", "bench", "--locked", "--quiet", "--bench", bench, "--", "--warm-up-time", "0.2",
                   "--measurement-time", "0.6", "--noplot"]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            say(f"{bench} took too long")
            continue
        if ran.returncode:
            say(f"{bench} failed: {ran.stderr.strip()[-300:]}")
        found |= {f"{bench}: {name}": ns for name, ns in read(ran.stdout)}
    return found


def read(text):
    """The middle one of each three times that criterion says; a long name stands on a line of its own."""
    for name, value, unit in re.findall(r"^(\S.*?)\s+time:\s+\[\S+ \S+ ([\d.]+) (\S+)", text.replace("\n  ", " "), re.M):
        yield name, float(value) * UNITS_NS[unit]


def table(found):
    return ["| function | ns |", "|---|---|", *(f"| {name} | {ns:,.0f} |" for name, ns in found.items()), ""]
