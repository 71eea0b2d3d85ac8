"""Loads whose size is the point: many connections, large bodies, a long backlog, a large ledger."""

import http.client
import json
import re
import statistics
import subprocess
import time
from pathlib import Path

from . import load, world

HERE = Path(__file__).parent
CONNECTING_SECONDS_MAX = 90

# `/page` as the other measurements know it, files of every size, and a place that takes any body.
SIZES_SHOP = """
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    client_max_body_size 2m;
    location / {{ default_type text/html; return 200 "{body}"; }}
    location /bodies/ {{ root {folder}; }}
  }}
"""


def use_sizes_shop(here, sizes):
    """A stub in place of the world's own, before any proxy is added."""
    bodies = here.folder / "bodies"
    bodies.mkdir()
    for size in sizes:
        (bodies / str(size)).write_bytes(b"x" * size)
    port = world.free_port()
    text = SIZES_SHOP.format(port=port, body="x" * 1024, folder=here.folder)
    here.shop = here._nginx("sizes-shop", text, port)


def change_config(server, old, new):
    """Of a kallback that does not run yet."""
    file = server.folder / f"{server.name}.toml"
    text = file.read_text()
    if old not in text:
        raise RuntimeError(f"{file} has no {old!r}")
    file.write_text(text.replace(old, new))


def steady(server, connections, seconds, rate):
    """The same rate over however many connections: counted from when all of them stand, for so many seconds."""
    log = server.folder / "steady.log"
    log.unlink(missing_ok=True)
    command = ["h2load", f"-t{min(2, connections)}", f"-c{connections}", "-m1", "--h1",
               f"-D{CONNECTING_SECONDS_MAX + 2 * seconds}", f"--rps={rate / connections:g}", f"--log-file={log}",
               f"https://127.0.0.1:{server.port}/page"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_connections(server, connections, log)
        time.sleep(1)
        before, began = server.cpu_seconds(), time.time()
        time.sleep(seconds)
        spent, ended = server.cpu_seconds() - before, time.time()
    finally:
        process.kill()
        process.wait()
    times, failed = [], 0
    for line in log.read_text().splitlines():
        fields = line.split("\t")
        # A line that is cut short is the last one.
        if len(fields) == 3 and fields[2] and began <= (int(fields[0]) + int(fields[2])) / 1e6 < ended:
            times.append(int(fields[2]) / 1000)
            failed += fields[1] != "200"
    if len(times) <= failed:
        raise RuntimeError(f"no request to {server.name} went well over {connections} connections")
    times.sort()
    quantiles = {q: times[min(len(times) - 1, len(times) * q // 100)] for q in (50, 99)}
    return load.Sample(len(times) / (ended - began), spent * 1e6 / len(times), quantiles, failed)


def wait_for_connections(server, connections, log):
    """Until all of them stand, and then until each has had a request: TLS, and what queued up meanwhile, is over."""
    began = time.monotonic()

    def wait_until(done):
        while not done():
            if time.monotonic() - began > CONNECTING_SECONDS_MAX:
                raise RuntimeError(f"{connections} connections to {server.name} take too long")
            time.sleep(0.3)

    def answered():
        return log.read_bytes().count(b"\n") if log.exists() else 0

    wait_until(lambda: standing(server) >= connections)
    until_now = answered()
    wait_until(lambda: answered() >= until_now + connections)


def standing(server):
    """Connections that stand. Each is listed for both of its ends."""
    port = f":{server.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(port) and row[3] == "01" for row in rows)


def download(server, connections, seconds, size):
    return wrk(server, connections, seconds, f"/bodies/{size}")


def upload(server, connections, seconds, size):
    return wrk(server, connections, seconds, "/page", "-s", str(HERE / "upload.lua"), arguments=("--", str(size)))


def wrk(server, connections, seconds, path, *more, arguments=()):
    """Closed loop, as `load.wrk`, to another path and with another script."""
    command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", *more, f"https://127.0.0.1:{server.port}{path}",
               *arguments]
    before = server.cpu_seconds()
    requests, took, failed = read_wrk(load.run(command, seconds))
    spent = server.cpu_seconds() - before
    if failed:
        raise load.Failed(f"{failed} of {requests} requests to {server.name}{path} failed")
    return load.Sample(requests / took, spent * 1e6 / requests, {}, failed, requests)


def read_wrk(text):
    """Requests, seconds and failures, of what wrk says by itself."""
    total = re.search(r"(\d+) requests in ([\d.]+)(m|s)", text)
    errors = re.findall(r"(?:connect|read|write|timeout) (\d+)|Non-2xx or 3xx responses: (\d+)", text)
    failed = sum(int(one or other) for one, other in errors)
    return int(total[1]), float(total[2]) * (60 if total[3] == "m" else 1), failed


class Admin:
    """What kallback tells on its admin listener."""

    def __init__(self, server):
        self.port = server.admin_port

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            body = reply.read()
            if reply.status != 200:
                raise RuntimeError(f"{path}: {reply.status} {body[:200]!r}")
            return body
        finally:
            connection.close()

    def pending(self):
        return json.loads(self.get("/counts"))["pending"]

    def milliseconds(self, path, times=5):
        """Median of some, the first of which may have to read from the disk."""
        taken = []
        for _ in range(times):
            began = time.monotonic()
            self.get(path)
            taken.append((time.monotonic() - began) * 1000)
        return statistics.median(taken)


def fill_backlog(server, admin, wanted):
    """While the shop is down: callbacks that kallback answers 204, until so many are pending."""
    while (missing := wanted - admin.pending()) > 0:
        seconds = 1 if missing < 5_000 else 4
        load.unique_callbacks(server, 64, seconds)


def drain(server, admin, seconds_max):
    """Waits until the backlog is gone: delivered a second, CPU µs for each, and how many were left after the time."""
    left, before, began = admin.pending(), server.cpu_seconds(), time.monotonic()
    first = left
    while left > 0 and time.monotonic() - began < seconds_max:
        time.sleep(0.2)
        left = admin.pending()
    took, gone = time.monotonic() - began, max(1, first - left)
    return gone / took, (server.cpu_seconds() - before) * 1e6 / gone, left
