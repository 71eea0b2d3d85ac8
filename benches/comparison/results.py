"""The file of results: each measurement writes its own section and leaves the others alone."""

import re
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "RESULTS.md"
HEAD = """# Measured

Each section is written by the command that it names; ratios are taken within one run, against a peer that ran beside it.
"""
# In this order, whichever is measured first.
SECTIONS = ["kallback beside nginx, HAProxy and Pingora", "Goals that are missed, and why", "How it grows", "Callbacks first",
            "Replicas", "What 10,000 shops need"]


def put(section, lines):
    """Replaces the section of that title, or adds it."""
    found = parse(FILE.read_text()) if FILE.exists() else {}
    found[section] = "\n".join(lines).strip() + "\n"
    order = [title for title in SECTIONS if title in found] + [title for title in found if title not in SECTIONS]
    FILE.write_text("\n".join([HEAD, *(f"## {title}\n\n{found[title]}" for title in order)]))


def parse(text):
    """Texts by the titles of their sections."""
    parts = re.split(r"^## (.*)\n", text, flags=re.M)
    return {title: body.strip() + "\n" for title, body in zip(parts[1::2], parts[2::2])}
