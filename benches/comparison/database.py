"""A PostgreSQL of its own: Debian's programs, a folder that goes with it, loopback only."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from . import world

# Debian's package makes this user; initdb and postgres refuse to run as root.
USER = "postgres"
# What differs from PostgreSQL's own defaults. Durable as it comes: fsync and synchronous_commit stay on.
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 100
shared_buffers = 256MB
max_wal_size = 4GB
track_wal_io_timing = on
"""
COUNTED = """
select (select pg_current_wal_lsn() - '0/0'::pg_lsn), w.wal_records, w.wal_fpi, w.wal_sync, w.wal_write,
  d.xact_commit + d.xact_rollback, d.tup_inserted, d.tup_updated, d.tup_deleted, d.tup_fetched
from pg_stat_wal w, pg_stat_database d where d.datname = current_database()
"""
NAMES = ["wal_bytes", "wal_records", "wal_pages", "syncs", "wal_writes", "transactions", "inserted", "updated", "deleted",
         "fetched"]


class Database(world.Server):
    """A server with one database. Its sessions are processes that come and go while they are counted."""

    def __init__(self, here):
        # On a disk, unlike /tmp here and there: what is synced must cost what it costs. And where its user gets through.
        folder = Path(tempfile.mkdtemp(prefix="kallback-pg-", dir="/var/tmp"))
        self.data, self.password, port = folder / "data", secrets.token_hex(16), world.free_port()
        self.password_file = folder / "password"
        self.password_file.write_text(self.password)
        self.password_file.chmod(0o600)
        give_away(folder)
        initdb = [program("initdb"), "--auth=scram-sha-256", f"--pwfile={self.password_file}", "--username=kallback",
                  "--encoding=UTF8", "--locale=C", "--no-sync", "-D", str(self.data)]
        subprocess.run(unprivileged(initdb), check=True, cwd="/", stdout=subprocess.DEVNULL)
        with open(self.data / "postgresql.conf", "a") as config:
            config.write(f"{SETTINGS}port = {port}\n")
        super().__init__(here, "postgresql", unprivileged([program("postgres"), "-D", str(self.data)]), port)
        self.folder = folder

    def start(self):
        super().start()
        began = time.monotonic()
        while not self.takes_calls():
            if time.monotonic() - began > 20:
                raise RuntimeError("PostgreSQL does not take calls")
            time.sleep(0.1)
        return self

    def takes_calls(self):
        try:
            self.sql("select 1", database="postgres")
            return True
        except subprocess.CalledProcessError:
            return False

    def cpu_seconds(self):
        """Also of its processes that have ended."""
        ticks = 0
        for pid in self.processes():
            fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
            own = fields[11:15] if pid == self.process.pid else fields[11:13]
            ticks += sum(map(int, own))
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_kib(self):
        found = [read(f"/proc/{pid}/smaps_rollup") for pid in self.processes()]
        pages = [line for text in found for line in text.splitlines() if line.startswith("Pss:")]
        return sum(int(line.split()[1]) for line in pages)

    def stop(self):
        """At once, with whoever is still connected."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        super().stop()

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, statement, database="kallback"):
        command = [program("psql"), "-XAtq", "-F", " ", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
                   "-U", "kallback", "-d", database, "-c", statement]
        told = subprocess.run(command, check=True, capture_output=True, text=True,
                              env={**os.environ, "PGPASSWORD": self.password})
        return told.stdout.strip()

    def empty(self):
        """A new database in place of the old one; nobody may be connected."""
        self.sql("drop database if exists kallback", database="postgres")
        self.sql("create database kallback template template0", database="postgres")

    def counted(self):
        """What it did so far, by name."""
        return dict(zip(NAMES, map(float, self.sql(COUNTED).split())))

    def url(self):
        return f"postgres://kallback@127.0.0.1:{self.port}/kallback?sslmode=disable"


def read(file):
    """Empty where the process has just ended."""
    try:
        return Path(file).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def program(name):
    """The newest of Debian's versions."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = str(versions[-1]) if versions else shutil.which(name)
    if not found:
        raise RuntimeError(f"PostgreSQL's {name} is missing: apt-get install postgresql")
    return found


def unprivileged(command):
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--", *command]


def give_away(folder):
    if os.geteuid() == 0:
        for path in [folder, *folder.iterdir()]:
            shutil.chown(path, USER, USER)
