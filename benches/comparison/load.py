"""What is sent, and what it cost the proxy."""

import re
import socket
import ssl
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from . import world

HERE = Path(__file__).parent
RUNS = count()
UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


@dataclass
class Sample:
    """One run against one proxy. Times in milliseconds."""

    requests_per_second: float
    cpu_us_per_request: float
    quantiles_ms: dict = field(default_factory=dict)
    failed: int = 0


def measured(server, load):
    """Runs `load`, which gives back requests, seconds, quantiles and failures; adds what the proxy spent."""
    before = server.cpu_seconds()
    requests, seconds, quantiles, failed = load()
    spent = server.cpu_seconds() - before
    if requests <= failed:
        raise RuntimeError(f"no request to {server.name} went well")
    return Sample(requests / seconds, spent * 1e6 / requests, quantiles, failed)


def wrk(server, connections, seconds, *more, path="/page", script=()):
    """Closed loop: each connection sends its next request when it has the reply."""
    command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--latency", *more,
               f"https://127.0.0.1:{server.port}{path}", *script]

    def load():
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        total = re.search(r"(\d+) requests in ([\d.]+)(m|s)", text)
        took = float(total[2]) * UNITS_MS[total[3]] / 1000
        quantiles = {int(q): float(ms) * UNITS_MS[unit]
                     for q, ms, unit in re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.M)}
        errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
        errors += sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
        return int(total[1]), took, quantiles, errors

    return measured(server, load)


def fresh(server, connections, seconds):
    """A TLS connection for each request, as Klarna does. wrk does not resume sessions."""
    return wrk(server, connections, seconds, "-H", "Connection: close")


def h2load(server, connections, seconds, streams=1, rate=None, http2=False):
    """With `rate` (requests a second in all) an open loop: a slow reply does not hold the next request up."""
    log = server.folder / "h2load.log"
    command = ["h2load", "-t2", f"-c{connections}", f"-m{streams}", f"-D{seconds}", f"--log-file={log}"]
    command += [f"--rps={rate / connections:g}"] if rate else []
    command += [] if http2 else ["--h1"]
    command.append(f"https://127.0.0.1:{server.port}/page")

    def load():
        log.unlink(missing_ok=True)
        began = time.monotonic()
        subprocess.run(command, check=True, capture_output=True, text=True)
        took = time.monotonic() - began
        rows = [line.split("\t") for line in log.read_text().splitlines()]
        times = sorted(int(row[2]) / 1000 for row in rows)
        failed = sum(row[1] != "200" for row in rows)
        quantiles = {q: times[min(len(times) - 1, int(len(times) * q / 100))] for q in (50, 99, 99.9)} if times else {}
        return len(rows), min(took, seconds + 0.5), quantiles, failed

    return measured(server, load)


def unique_callbacks(server, connections, seconds, pause_ms=0, rate_max=15000):
    """Authorization callbacks with good tokens, each another one."""
    run = next(RUNS)
    return callbacks(server, connections, seconds, f"run-{run}", seconds * rate_max, pause_ms)


def repeated_callbacks(server, connections, seconds):
    """Authorization callbacks with good tokens that the shop has had; the warm-up sees to that."""
    return callbacks(server, connections, seconds, "repeated", 1000, 0)


def callbacks(server, connections, seconds, name, sessions, pause_ms):
    file = server.folder / "sessions"
    named = (f"{name}-{number:06}" for number in range(sessions))
    file.write_text("".join(f"{session} {world.token(session)}\n" for session in named))
    return wrk(server, connections, seconds, "-s", str(HERE / "callbacks.lua"), script=("--", str(file), str(pause_ms)))


def client_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def handshakes(server, total, resume, threads=4):
    """TLS 1.3 connections with one request each; with `resume` all but the first of each thread resume."""
    request = b"GET /page HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
    faults = []

    def one(context, session):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain:
            with context.wrap_socket(plain, session=session) as stream:
                stream.sendall(request)
                while stream.recv(65536):
                    pass
                return stream.session, stream.session_reused

    def work():
        try:
            context, session, resumed = client_context(), None, 0
            for _ in range(total // threads):
                session, reused = one(context, session if resume else None)
                resumed += reused
            if resumed < (total // threads - 1 if resume else 0):
                faults.append("sessions were not resumed")
        except OSError as error:
            faults.append(str(error))

    def load():
        began = time.monotonic()
        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return total, time.monotonic() - began, {}, 0

    sample = measured(server, load)
    if faults:
        raise RuntimeError(f"{server.name}: {faults[0]}")
    return sample


def memory(server, connections):
    """Resident KiB when idle, and for each of so many idle TLS connections that sent one request."""
    idle, context, held = server.memory_kib(), client_context(), []
    try:
        for number in range(connections):
            # Several source addresses, because one has only 28,000 ports, some of them still waiting.
            source = (f"127.0.{1 + number // 200}.1", 0)
            plain = socket.create_connection(("127.0.0.1", server.port), timeout=10, source_address=source)
            stream = context.wrap_socket(plain)
            stream.sendall(b"GET /page HTTP/1.1\r\nHost: shop.test\r\n\r\n")
            left = 1
            while left > 0:
                left = 0 if stream.recv(65536).endswith(b"x") else 1
            held.append(stream)
        time.sleep(0.5)
        return idle, (server.memory_kib() - idle) / connections
    finally:
        for stream in held:
            stream.close()


def median(values):
    return statistics.median(values)
