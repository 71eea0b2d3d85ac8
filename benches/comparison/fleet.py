"""Several kallbacks before one shop, and callbacks spread over them."""

import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from . import growth, world

HERE = Path(__file__).parent
# Of a hundred callbacks, so many are ones that another replica has had, or is having.
DUPLICATES_PERCENT = 10
# As many callbacks earlier.
BEHIND = 40


@dataclass
class Run:
    """One stretch of load on a fleet, and what it cost for each callback."""

    callbacks: int
    per_second: float
    quantiles_ms: dict
    failed: int
    gateway_us: float
    database_us: float = 0.0
    written_bytes: float = 0.0
    counted: dict = field(default_factory=dict)


class Fleet:
    """Replicas over one database, or one kallback with a file."""

    def __init__(self, here, binary, name, replicas, database=None):
        self.name, self.replicas, self.database = name, replicas, database
        self.servers = []
        for number in range(replicas):
            server = f"{name}-{number}"
            here.add_kallback(server, binary)
            self.servers.append(here.servers[server])
            if database:
                url = f'url = "{database.url()}"\npassword_file = "{database.password_file}"\nbytes_max = "64 GiB"'
                growth.change_config(self.servers[-1], f'file = "{server}.db"', url)

    def start(self):
        for server in self.servers:
            server.start()

    def stop(self):
        for server in self.servers:
            server.stop()

    def cpu_seconds(self):
        return sum(server.cpu_seconds() for server in self.servers)

    def memory_kib(self):
        return statistics.mean(server.memory_kib() for server in self.servers)


def send(fleet, marks, connections, seconds, pause_ms, rate_max):
    """Callbacks over all replicas at once; each has its own connections and its own share."""
    each = max(2, connections // fleet.replicas)
    per_replica = seconds * rate_max // fleet.replicas
    for place, server in enumerate(fleet.servers):
        (server.folder / f"{server.name}.sessions").write_text(sessions(fleet, marks, place, per_replica))
    gateways, database = fleet.cpu_seconds(), fleet.database and fleet.database.cpu_seconds()
    written = written_bytes(fleet)
    wrks = []
    try:
        for server in fleet.servers:
            command = ["wrk", "-t2", f"-c{each}", f"-d{seconds}s", "-s", "replicas.lua",
                       f"https://127.0.0.1:{server.port}/", "--", str(server.folder / f"{server.name}.sessions"),
                       str(pause_ms)]
            wrks.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE))
        told = [wrk.communicate(timeout=seconds + 30)[0] for wrk in wrks]
    finally:
        for wrk in wrks:
            wrk.kill()
            wrk.wait()
    callbacks, per_second, failed, steps = 0, 0.0, 0, []
    for text in told:
        lines = [line.split()[1:] for line in text.splitlines() if line.startswith(("done ", "steps "))]
        (requests, micros, faults), times = lines
        callbacks, failed = callbacks + int(requests), failed + int(faults)
        per_second += int(requests) * 1e6 / int(micros)
        steps += [(int(time) / 1000, int(requests) / len(times)) for time in times]
    run = Run(callbacks, per_second, quantiles(steps), failed, (fleet.cpu_seconds() - gateways) * 1e6 / callbacks)
    run.written_bytes = (written_bytes(fleet) - written) / callbacks
    if fleet.database:
        run.database_us = (fleet.database.cpu_seconds() - database) * 1e6 / callbacks
    return run


def sessions(fleet, marks, place, number_max):
    """One session and its token a line. Every tenth is one of the next replica's, from a little earlier."""
    lines, mint = [], world.minting()
    for number in range(number_max):
        owner = place
        if number % 100 < DUPLICATES_PERCENT and number >= BEHIND + 100:
            owner, number = (place + 1) % fleet.replicas, number - BEHIND
        session = f"{marks}-{owner}-{number:07}"
        lines.append(f"{session} {mint(session)}\n")
    return "".join(lines)


def quantiles(steps):
    """Of times with weights."""
    steps = sorted(steps)
    total, found, passed = sum(weight for _, weight in steps), {}, 0.0
    for time, weight in steps:
        passed += weight
        for share in (50, 99):
            if share not in found and passed >= total * share / 100:
                found[share] = time
    return found


def written_bytes(fleet):
    """What its processes, the database's included, gave to the disks; 0 where this user may not know."""
    total = 0
    for server in [*fleet.servers, *([fleet.database] if fleet.database else [])]:
        for pid in server.processes():
            try:
                lines = Path(f"/proc/{pid}/io").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))
    return total
