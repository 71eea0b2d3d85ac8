"""What every measurement does around its measuring: installs what it misses, builds, says where it is, and leaves
nothing running behind, also on Ctrl-C."""

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from . import world

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def prepare(packages):
    """`packages`: by the command that each is needed for. What ends the measurement from outside ends it as Ctrl-C
    does, and so does the time that it may take at most."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.default_int_handler)
    world.raise_descriptor_limit()
    missing = [package for command, package in packages.items() if not shutil.which(command)]
    if missing:
        say(f"installing {' '.join(missing)}")
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "install", "-y", "-qq", *missing], check=True, stdout=subprocess.DEVNULL,
                       env=environment)


def build(seconds_max):
    """The release build of kallback and of the programs that measure it. From then on the time counts."""
    say("building")
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "-p", "kallback", "-p", "kallback-measure"],
                   check=True, cwd=ROOT)
    signal.alarm(seconds_max)
    return TARGET / "release" / "kallback"


def open_world(name, binary):
    """A folder of that name, and a shop in it that replies at once. Nothing runs yet."""
    return world.World(TARGET / name, os.cpu_count(), binary.parent)


def say(what):
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def head(command, what):
    """The first lines of a section: how it was made, where, and with what."""
    date = time.strftime("%Y-%m-%d", time.gmtime())
    written = " ".join([f"benches/{command}", *sys.argv[1:]])
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout
    return [f"Written by `{written}` on {date}, kallback at {commit.strip()}, release build. {what}", "",
            f"Machine: {machine()}. Everything that takes part shares it.", ""]


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    name = model[1] if model else platform.machine()
    return f"{os.cpu_count()} cores, {name}, Linux {platform.release().split('-')[0]}"


def table(titles, rows):
    """A table in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return [f"| {' | '.join(map(str, cells))} |" for cells in lines] + [""]
