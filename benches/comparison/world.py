"""The shop stub and the proxies in front of it: their configs, their processes, what these cost."""

import hashlib
import hmac
import os
import random
import re
import resource
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path

TOKEN_KEY = bytes(range(32))
START_SECONDS_MAX = 20


def raise_descriptor_limit():
    """As far as this user may, so that 10,000 connections fit. Root may go beyond the hard limit, unless confined."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, 65_536), max(hard, 65_536)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_max():
    """10,000, or what the limit on file descriptors leaves."""
    return min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1_000)


def free_port():
    """Below the ports that outgoing connections take, so that none of those gets it before the server does."""
    for _ in range(100):
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no port is free")


class Server:
    """A server of one or several processes."""

    def __init__(self, here, name, command, port):
        self.world, self.folder, self.name, self.port, self.command = here, here.folder, name, port, command
        self.process = None
        self.unique_answered = 0

    def start(self):
        log = self.folder / f"{self.name}.log"
        began = time.monotonic()
        with open(log, "ab") as lines:
            self.process = subprocess.Popen(list(map(str, self.command)), stdout=lines, stderr=lines, cwd=self.folder)
        while not self.accepts():
            if self.process.poll() is not None or time.monotonic() - began > START_SECONDS_MAX:
                self.stop()
                raise RuntimeError(f"{self.name} does not start: {log.read_text()[-500:].strip()}")
            time.sleep(0.001)
        return self

    def accepts(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def answers(self):
        """Whether a page comes through, TLS and the shop included."""
        context = ssl.create_default_context(cafile=self.folder / "cert.pem")
        try:
            plain = socket.create_connection(("127.0.0.1", self.port), timeout=1)
            with context.wrap_socket(plain, server_hostname="shop.test") as stream:
                stream.sendall(b"GET /page HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
                return stream.recv(4096).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        if not self.process:
            return
        family = self.processes() if self.runs() else []
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            # A parent that is killed takes nobody with it.
            for pid in family:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
            self.process.wait()
        self.process = None

    def processes(self):
        """Its process and all that descend from it."""
        if not self.runs():
            raise RuntimeError(f"{self.name} has ended by itself; see {self.folder / self.name}.log")
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                todo += map(int, children.read_text().split())
        return found

    def cpu_seconds(self):
        """User and system time, threads that have ended included, from the kernel's clock of each process: in
        nanoseconds, where /proc/PID/stat counts in hundredths of a second."""
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self.processes())

    def memory_kib(self):
        """Resident memory. Of several processes, pages that they share count once."""
        processes = self.processes()
        kind = "Rss:" if len(processes) == 1 else "Pss:"
        rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in processes)
        return sum(int(line.split()[1]) for text in rollups for line in text.splitlines() if line.startswith(kind))


def make_certificate(folder):
    """One certificate for all of them: ECDSA P-256, self-signed."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test,IP:127.0.0.1",
         "-addext", "basicConstraints=critical,CA:FALSE", "-days", "2",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True)
    (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    (folder / "key.pem").chmod(0o600)


# kallback's order, which its peers are given too: else some of the difference would be SHA-384 against SHA-256.
SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
OLDER_SUITES = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305"

NGINX = """
worker_processes {workers};
worker_rlimit_nofile 20000;
pid {folder}/{name}.pid;
error_log {folder}/{name}.error.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 120s;
  client_body_temp_path {folder}/{name}.body;
  proxy_temp_path {folder}/{name}.proxy;
  fastcgi_temp_path {folder}/{name}.f; uwsgi_temp_path {folder}/{name}.u; scgi_temp_path {folder}/{name}.s;
  {http}
}}
"""

STUB = """
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ default_type text/html; return 200 "{body}"; }}
  }}
"""

FRONT = """
  upstream shop {{ server 127.0.0.1:{shop}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} ssl http2 backlog=4096;
    ssl_certificate cert.pem; ssl_certificate_key key.pem; ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ecdh_curve X25519:prime256v1;
    ssl_prefer_server_ciphers on;
    ssl_conf_command Ciphersuites {suites};
    ssl_ciphers {older_suites};
    location / {{
      proxy_pass http://shop;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Forwarded-Port 443;
    }}
  }}
"""

HAPROXY = """
global
  nbthread {workers}
  maxconn 16384
  # It would have two file descriptors ready for each connection, and not start without.
  no strict-limits
  ssl-default-bind-options ssl-min-ver TLSv1.2
  ssl-default-bind-curves X25519:P-256
  ssl-default-bind-ciphersuites {suites}
  ssl-default-bind-ciphers {older_suites}
defaults
  mode http
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  timeout http-keep-alive 120s
frontend front
  bind 127.0.0.1:{port} ssl crt {folder}/both.pem alpn h2,http/1.1 backlog 4096
  option forwardfor
  http-request set-header X-Forwarded-Proto https
  http-request set-header X-Forwarded-Port 443
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  default_backend shop
backend shop
  http-reuse safe
  server shop 127.0.0.1:{shop}
"""

# Beside the addresses, three limits are raised: the whole load comes from one address, and comes faster than any
# shop's. Everything else is at its default.
KALLBACK = """
[server]
listen = ["127.0.0.1:{port}"]
connections_max = 16384
connections_per_address_max = 16384
{server}
[[tls.certificates]]
certificate = "cert.pem"
key = "key.pem"
[shop]
url = "http://127.0.0.1:{shop}"
{shop_options}
[callbacks]
presets = ["woocommerce"]
[token]
key_file = "token.keys"
[ledger]
file = "{name}.db"
[limits]
proven_per_second = 1000000
[admin]
listen = "127.0.0.1:{admin}"
[life]
drain_delay = "0 s"
drain_timeout = "1 s"
"""


class World:
    """A folder, a shop stub, and the proxies by name."""

    def __init__(self, folder, workers, programs):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.workers, self.servers = folder, workers, {}
        self.programs = programs
        make_certificate(folder)
        keys = folder / "token.keys"
        keys.write_text(f"1 {TOKEN_KEY.hex()}\n")
        keys.chmod(0o600)
        port = free_port()
        self.shop = self._nginx("shop", STUB.format(port=port, body="x" * 1024), port)

    def _nginx(self, name, http, port):
        config = self.folder / f"{name}.conf"
        config.write_text(NGINX.format(name=name, folder=self.folder, workers=self.workers, http=http))
        return Server(self, name, ["nginx", "-p", self.folder, "-c", config, "-g", "daemon off;"], port)

    def add_nginx(self):
        port = free_port()
        self.servers["nginx"] = self._nginx("nginx", FRONT.format(port=port, shop=self.shop.port, suites=SUITES, older_suites=OLDER_SUITES), port)

    def add_haproxy(self):
        port, config = free_port(), self.folder / "haproxy.cfg"
        config.write_text(HAPROXY.format(port=port, shop=self.shop.port, workers=self.workers, folder=self.folder,
                                         suites=SUITES, older_suites=OLDER_SUITES))
        self.servers["HAProxy"] = Server(self, "HAProxy", ["haproxy", "-db", "-f", config], port)

    def add_pingora(self, binary):
        port = free_port()
        command = [binary, f"127.0.0.1:{port}", f"127.0.0.1:{self.shop.port}", "cert.pem", "key.pem", self.workers]
        self.servers["Pingora"] = Server(self, "Pingora", command, port)

    def add_kallback(self, name, binary, server="", shop_options=""):
        self.servers[name] = self.kallback(name, binary, server, shop_options)

    def kallback(self, name, binary, server="", shop_options=""):
        port, admin, config = free_port(), free_port(), self.folder / f"{name}.toml"
        config.write_text(KALLBACK.format(
            port=port, shop=self.shop.port, name=name, server=server, shop_options=shop_options, admin=admin))
        made = Server(self, name, [binary, "run", "--config", config], port)
        made.admin_port = admin
        return made

    def start(self):
        for server in [self.shop, *self.servers.values()]:
            server.start()

    def stop(self):
        for server in [*self.servers.values(), self.shop]:
            server.stop()


def gauge(server, name):
    """A figure of kallback's own, without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}/metrics", timeout=5) as reply:
        found = re.search(rf"^{name} (\S+)$", reply.read().decode(), re.M)
    return float(found[1]) if found else 0.0


def settled_gauge(server, name, enough):
    """The gauge once it is `enough`, or as it is after six seconds: it follows what it counts within two."""
    for _ in range(30):
        value = gauge(server, name)
        if enough(value):
            break
        time.sleep(0.2)
    return value


def minting():
    """A function from a session to its token, as docs/tokens.md says."""
    expiry = (int(time.time()) + 72 * 3600 + 86399) // 86400 * 86400
    head = bytes([0x11, 1]) + expiry.to_bytes(4, "big")

    def mint(session):
        nonce = hmac.digest(TOKEN_KEY, b"kallback-nonce-v1" + head + session.encode(), hashlib.sha256)[:10]
        code = hmac.digest(TOKEN_KEY, b"kallback-token-v1" + head + nonce, hashlib.sha256)[:16]
        return (head + nonce + code).hex()

    return mint


def tls_facts(server):
    """What is agreed with a client like those of the loads: OpenSSL with its defaults, in both versions."""
    # With a reply, because HAProxy sends its tickets of TLS 1.3 with that.
    request = "GET /page HTTP/1.1\nHost: shop.test\nConnection: close\n\n"
    facts = {}
    for version, option in (("TLS 1.3", "-tls1_3"), ("TLS 1.2", "-tls1_2")):
        command = ["openssl", "s_client", "-crlf", "-ign_eof", "-connect", f"127.0.0.1:{server.port}", "-servername",
                   "shop.test", "-alpn", "http/1.1", option]
        ran = subprocess.run(command, input=request, capture_output=True, text=True, errors="replace", timeout=10)
        facts[version] = read_tls_facts(ran.stdout)
    return facts


def read_tls_facts(said):
    def one(pattern):
        found = re.search(pattern, said, re.M)
        return found[1].strip() if found else "none"

    tickets = len(re.findall(r"Post-Handshake New Session Ticket arrived", said))
    if not tickets and "TLS session ticket:" in said:
        tickets = 1
    return (one(r"Cipher is (.*)$"), one(r"^(?:Server Temp Key|Peer Temp Key): (.*?)(?:,.*)?$"),
            one(r"^Server public key is (.*)$"), tickets)
