"""What runs beside the test: gateways, and the Prometheus that scrapes them."""

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from dashboard import REPOSITORY

KALLBACK = os.environ["KALLBACK"]
RULES = REPOSITORY / "deploy/prometheus"
# Four scrapes of one second, as Grafana makes `$__rate_interval`.
RATE_SECONDS = 4
STARTS_WITHIN_SECONDS = 30
ANSWERS_WITHIN_SECONDS = 10
POLL_SECONDS = 0.2


def patiently(what, holds, seconds):
    """Asks again and again, for so long at most."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > end:
            raise TimeoutError(f"within {seconds} s there was no: {what}")
        time.sleep(POLL_SECONDS)
    return found


class Gateway:
    """A kallback of its own folder, key and certificate. With `is_read` false nobody reads its log once it runs."""

    def __init__(self, folder, shop, settings, days, is_read=True):
        folder.mkdir()
        self.folder = folder
        self.config = folder / "kallback.toml"
        certificate = ["-keyout", folder / "shop.key", "-out", folder / "shop.crt", "-subj", "/CN=shop.example"]
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        make = ["openssl", "req", "-x509", "-days", str(days)]
        # What signed itself must not be an authority's certificate, or it is not believed as a shop's.
        extensions = ["-addext", "subjectAltName=DNS:shop.example", "-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run([*make, *extensions, *new_key, *certificate], check=True, capture_output=True)
        (folder / "token.keys").write_text(f"1 {os.urandom(32).hex()}\n")
        for secret in ("token.keys", "shop.key"):
            (folder / secret).chmod(0o600)
        self.config.write_text(f"""
[server]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:0"
[shop]
url = "{shop.url}"
max_in_flight = 4
reserved_for_callbacks = 2
[token]
key_file = "{folder}/token.keys"
[[tls.certificates]]
certificate = "{folder}/shop.crt"
key = "{folder}/shop.key"
[callbacks]
presets = ["woocommerce"]
[ledger]
file = "{folder}/kallback.db"
{settings}""")
        self.process = subprocess.Popen([KALLBACK, "run", "--config", self.config], stderr=subprocess.PIPE)
        late = threading.Timer(STARTS_WITHIN_SECONDS, self.process.kill)
        late.start()
        said = b""
        while not (places := re.search(rb"listening on https://([^ ,/]+).*?http://([^ ,/]+)/? \(admin\)", said)):
            line = self.process.stderr.readline()
            if not line:
                raise RuntimeError(f"kallback does not start: {said.decode()}")
            said += line
        late.cancel()
        self.address, self.admin = (place.decode() for place in places.groups())
        self.log = [said]
        if is_read:
            threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()

    def trigger(self, kind, *arguments, key_of=None):
        """Plays Klarna once; what becomes of it is not asked here."""
        way = ["--connect-to", self.address, "--ca", self.folder / "shop.crt"]
        key = ["--key-file", (key_of or self).folder / "token.keys"]
        subprocess.run(
            [KALLBACK, "trigger", kind, "https://shop.example", *way, *key, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )

    def knock(self, times):
        """Callbacks without a token, one after the other on one connection: much log for little work."""
        way = ssl.create_default_context(cafile=self.folder / "shop.crt")
        way.check_hostname = False
        host, port = self.address.split(":")
        stranger = http.client.HTTPSConnection(host, int(port), timeout=ANSWERS_WITHIN_SECONDS, context=way)
        try:
            for _ in range(times):
                stranger.request("GET", "/wc-api/KP_WC_AUTHORIZATION")
                stranger.getresponse().read()
        except (OSError, http.client.HTTPException):
            # The gateway was killed meanwhile.
            pass
        finally:
            stranger.close()

    def reload_what_is_broken(self):
        self.config.write_text("[shop]\nurl = 7\n")
        self.process.send_signal(signal.SIGHUP)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Prometheus:
    def __init__(self, folder, targets, rule_files):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        folder.mkdir()
        (folder / "prometheus.yml").write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(file) for file in rule_files],
                    "scrape_configs": [{"job_name": "kallback", "static_configs": [{"targets": targets}]}],
                }
            )
        )
        self.url = f"http://127.0.0.1:{port}"
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self.log,
            stderr=self.log,
        )
        patiently("Prometheus that is ready", self.is_ready, STARTS_WITHIN_SECONDS)

    def is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"Prometheus does not start: {open(self.log.name).read()}")
        try:
            return urllib.request.urlopen(f"{self.url}/-/ready", timeout=ANSWERS_WITHIN_SECONDS).status == 200
        except OSError:
            return False

    def get(self, path, **parameters):
        query = urllib.parse.urlencode(parameters, doseq=True)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=ANSWERS_WITHIN_SECONDS) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refusal:
            raise RuntimeError(f"{path} {parameters}: {refusal.read().decode()}") from refusal

    def now(self, expression):
        """[(labels, value)] at this moment."""
        found = self.get("query", query=expression)
        if found["resultType"] == "scalar":
            return [({}, float(found["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in found["result"]]

    def over_time(self, expression, start, end, step):
        """[(labels, [(time, value)])]"""
        found = self.get("query_range", query=expression, start=start, end=end, step=step)["result"]
        return [(series["metric"], [(at, float(value)) for at, value in series["values"]]) for series in found]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
