"""Nanoseconds of single functions."""

import subprocess

SECONDS_MAX = 120


def measure(program):
    return read(subprocess.run([program, "--time"], check=True, capture_output=True, text=True, timeout=SECONDS_MAX).stdout)


def read(text):
    lines = (line.partition(" ") for line in text.splitlines())
    return {name: float(ns) for ns, _, name in lines}


def table(found):
    return ["| function | ns |", "|---|---|", *(f"| {name} | {ns:,.0f} |" for name, ns in found.items()), ""]
