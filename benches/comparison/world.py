"""The shop stub and the proxies in front of it: their configs, their processes, what these cost."""

import hashlib
import hmac
import os
import resource
import shutil
import socket
import subprocess
import time
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
TOKEN_KEY = bytes(range(32))
CALLBACK = "/wc-api/KP_WC_AUTHORIZATION"


def connections_max():
    """HAProxy keeps two file descriptors ready for each connection."""
    return min(10_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200) // 2)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server of one or several processes."""

    def __init__(self, name, command, folder, port):
        self.name, self.port, self.command = name, port, command
        self.folder = folder
        self.process = None
        self.ready_after_ms = None

    def start(self):
        log = open(self.folder / f"{self.name}.log", "ab")
        began = time.monotonic()
        self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.folder)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() - began > 20:
                    raise RuntimeError(f"{self.name} does not start; see {log.name}") from None
                time.sleep(0.001)
        self.ready_after_ms = (time.monotonic() - began) * 1000
        return self

    def stop(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def processes(self):
        """Its process and all that descend from it."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                todo += map(int, children.read_text().split())
        return found

    def cpu_seconds(self):
        ticks = 0
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS_A_SECOND

    def memory_kib(self):
        """Resident memory; pages that its processes share count once."""
        kib = 0
        for pid in self.processes():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kib += int(line.split()[1])
        return kib


def make_certificate(folder):
    """One certificate for all of them: ECDSA P-256, self-signed."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test,IP:127.0.0.1", "-days", "2",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True)
    (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    (folder / "key.pem").chmod(0o600)


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
  maxconn {connections_max}
  ssl-default-bind-options ssl-min-ver TLSv1.2
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

    def __init__(self, folder, workers):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.workers, self.servers = folder, workers, {}
        make_certificate(folder)
        keys = folder / "token.keys"
        keys.write_text(f"1 {TOKEN_KEY.hex()}\n")
        keys.chmod(0o600)
        port = free_port()
        self.shop = self._nginx("shop", STUB.format(port=port, body="x" * 1024), port)
        self.shop.start()

    def _nginx(self, name, http, port):
        config = self.folder / f"{name}.conf"
        config.write_text(NGINX.format(name=name, folder=self.folder, workers=self.workers, http=http))
        command = ["nginx", "-p", str(self.folder), "-c", str(config), "-g", "daemon off;"]
        return Server(name, command, self.folder, port)

    def add_nginx(self):
        port = free_port()
        self.servers["nginx"] = self._nginx("nginx", FRONT.format(port=port, shop=self.shop.port), port)

    def add_haproxy(self):
        port, config = free_port(), self.folder / "haproxy.cfg"
        config.write_text(HAPROXY.format(port=port, shop=self.shop.port, workers=self.workers, folder=self.folder, connections_max=connections_max()))
        self.servers["haproxy"] = Server("haproxy", ["haproxy", "-db", "-f", str(config)], self.folder, port)

    def add_kallback(self, name, binary, server="", shop_options=""):
        port, config = free_port(), self.folder / f"{name}.toml"
        config.write_text(KALLBACK.format(
            port=port, shop=self.shop.port, name=name, server=server, shop_options=shop_options, admin=free_port()))
        self.servers[name] = Server(name, [str(binary), "run", "--config", str(config)], self.folder, port)

    def start(self):
        for server in self.servers.values():
            server.start()

    def stop(self):
        for server in [*self.servers.values(), self.shop]:
            server.stop()


def token(session, now=None):
    """As docs/tokens.md says."""
    expiry = (int(now or time.time()) + 72 * 3600 + 86399) // 86400 * 86400
    head = bytes([0x11, 1]) + expiry.to_bytes(4, "big")
    nonce = hmac.digest(TOKEN_KEY, b"kallback-nonce-v1" + head + session.encode(), hashlib.sha256)[:10]
    code = hmac.digest(TOKEN_KEY, b"kallback-token-v1" + head + nonce, hashlib.sha256)[:16]
    return (head + nonce + code).hex()
