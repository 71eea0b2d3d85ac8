"""What is sent, and what it cost the proxy."""

import json
import re
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from . import world
from .report import PEER

SCRIPT = Path(__file__).parent / "load.lua"
RUNS = count()
# Beyond what it was told to take: for connecting, and for the last replies.
OVERTIME_SECONDS = 30
# Twice what any run may answer: each of the two threads has its own half, and a session that is used again is no longer
# unique.
UNIQUE_PER_SECOND_MAX = 30_000


class Failed(Exception):
    """A run that came to nothing; the others go on."""


@dataclass
class Sample:
    """One run against one proxy. Times in milliseconds."""

    requests_per_second: float
    cpu_us_per_request: float
    quantiles_ms: dict = field(default_factory=dict)
    failed: int = 0
    requests: int = 0


def measured(server, load):
    """Runs `load`, which gives back requests, seconds, quantiles and failures; adds what the proxy spent."""
    before = server.cpu_seconds()
    requests, seconds, quantiles, failed = load()
    spent = server.cpu_seconds() - before
    if requests <= failed or not quantiles:
        raise Failed(f"no request to {server.name} went well")
    return Sample(requests / seconds, spent * 1e6 / requests, quantiles, failed, requests)


def run(command, seconds):
    """The output of a load generator, which never takes much longer than it was told."""
    try:
        ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=seconds + OVERTIME_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]} did not end") from None
    if ran.returncode:
        raise Failed(f"{Path(command[0]).name}: {(ran.stderr or ran.stdout).strip()[-300:]}")
    return ran.stdout


def wrk(server, connections, seconds, *more, sessions=()):
    """Closed loop: each connection sends its next request when it has the reply."""
    command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "-s", SCRIPT, *more,
               f"https://127.0.0.1:{server.port}/page", "--", *sessions]

    def load():
        return read_wrk(run(command, seconds))

    return measured(server, load)


def read_wrk(text):
    found = re.search(r"^RESULT (.*)$", text, re.M)
    if not found:
        raise Failed("wrk said nothing")
    requests, took_us, failed, *quantiles_us = map(int, found[1].split())
    return requests, took_us / 1e6, {q: us / 1000 for q, us in zip((50, 99, 99.9), quantiles_us)}, failed


def fresh(server, connections, seconds):
    """A TLS connection for each request, as Klarna does. wrk does not resume sessions."""
    return wrk(server, connections, seconds, "-H", "Connection: close")


def h2load(server, connections, seconds, streams):
    """HTTP/2, closed loop: each stream's next request goes out when it has the reply."""
    log = server.folder / "h2load.log"
    command = ["h2load", "-t2", f"-c{connections}", f"-m{streams}", f"-D{seconds}", f"--log-file={log}",
               f"https://127.0.0.1:{server.port}/page"]

    def load():
        log.unlink(missing_ok=True)
        return read_h2load(run(command, seconds), log.read_text())

    return measured(server, load)


def read_h2load(text, log):
    finished = re.search(r"^finished in ([\d.]+)(ms|s),", text, re.M)
    rows = [line.split("\t") for line in log.splitlines()]
    if not finished or not rows:
        raise Failed("h2load finished nothing")
    took = float(finished[1]) / (1000 if finished[2] == "ms" else 1)
    good = sorted(int(row[2]) / 1000 for row in rows if row[1] == "200")
    return len(rows), took, quantiles(good), len(rows) - len(good)


def quantiles(times):
    """Of sorted times."""
    return {q: times[min(len(times) - 1, int(len(times) * q / 100))] for q in (50, 99, 99.9)} if times else {}


def fixed_rate(server, connections, seconds, rate, sessions=()):
    """Open loop: a request is due at its time, whatever became of those before it, and its time counts from then."""
    command = [server.world.programs / "fixed-rate", f"127.0.0.1:{server.port}", server.folder / "cert.pem", rate, seconds,
               connections, *sessions]

    def load():
        said = json.loads(run(command, seconds).splitlines()[-1])
        times = {50: said["p50_ms"], 99: said["p99_ms"], 99.9: said["p99.9_ms"]}
        return said["requests"], said["seconds"], times, said["failed"]

    return measured(server, load)


def unique_callbacks(server, connections, seconds):
    """Authorization callbacks with good tokens, each another one."""
    total = seconds * UNIQUE_PER_SECOND_MAX
    sample = wrk(server, connections, seconds, sessions=[sessions(server, f"run-{next(RUNS)}", total)])
    # Half of them are for each of wrk's threads. The peer forwards a repeat like anything else.
    if server.name != PEER and sample.requests > total // 2:
        raise Failed("more callbacks than sessions: some were repeats")
    server.unique_answered += sample.requests - sample.failed
    return sample


def unique_callbacks_at(server, connections, seconds, rate):
    file = sessions(server, f"run-{next(RUNS)}", seconds * rate)
    sample = fixed_rate(server, connections, seconds, rate, sessions=[file])
    server.unique_answered += sample.requests - sample.failed
    return sample


def repeated_callbacks(server, connections, seconds):
    """Authorization callbacks with good tokens that the shop has had; the warm-up sees to that."""
    return wrk(server, connections, seconds, sessions=[sessions(server, "repeated", 1000)])


def sessions(server, name, total):
    """A file of so many sessions and their tokens."""
    file = server.folder / "sessions"
    named = (f"{name}-{number:06}" for number in range(total))
    mint = world.minting()
    file.write_text("".join(f"{session} {mint(session)}\n" for session in named))
    return file


def client_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def handshakes(server, total, resume, threads=4):
    """TLS 1.3 connections with one request each; with `resume` all but the first of each thread resume."""
    request = b"GET /page HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
    faults, times = [], []

    def one(context, session):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain:
            with context.wrap_socket(plain, session=session) as stream:
                stream.sendall(request)
                reply = stream.recv(65536)
                if not reply.startswith(b"HTTP/1.1 200 "):
                    faults.append("a reply was not 200")
                while stream.recv(65536):
                    pass
                times.append((time.monotonic() - began) * 1000)
                return stream.session, stream.session_reused

    def work():
        try:
            context, session, resumed = client_context(), None, 0
            for _ in range(total // threads):
                session, reused = one(context, session if resume else None)
                resumed += reused
            if resumed != (total // threads - 1 if resume else 0):
                faults.append("sessions were not resumed" if resume else "sessions were resumed")
        except OSError as error:
            faults.append(str(error))

    def load():
        began = time.monotonic()
        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return len(times), time.monotonic() - began, quantiles(sorted(times)), 0

    sample = measured(server, load)
    if faults:
        raise Failed(f"{server.name}: {faults[0]}")
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
            held.append(stream)
            stream.sendall(b"GET /page HTTP/1.1\r\nHost: shop.test\r\n\r\n")
            while True:
                part = stream.recv(65536)
                if not part:
                    raise Failed(f"{server.name} closed connection number {number + 1}")
                if part.endswith(b"x"):
                    break
        time.sleep(0.5)
        return idle, (server.memory_kib() - idle) / connections
    except OSError as error:
        raise Failed(f"{server.name}, connection number {len(held) + 1}: {error}") from None
    finally:
        for stream in held:
            stream.close()
