"""The private PostgreSQL cluster: made, started, given its role and the timescaledb extension, stopped."""

import hashlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

from provisioning.console import CannotProvision, say
from provisioning.programs import Programs
from provisioning.state import free_port, write_private

START_SECONDS = 120  # a cluster from a crashed machine replays its log first
STOP_SECONDS = 60
ROLE = DATABASE = "ridgeline"
DEMO_DATABASE = "ridgeline_demo"  # an example fleet never mixes with a real one

# fsync and synchronous_commit stay on: what the product has acknowledged is on disk.
# Charts read thousands of rows in short statements, most of them from memory: pages out of order cost hardly more than
# in order, and merging what devices recorded needs room to sort.
SETTINGS = """\
# Written by deploy/provision at every start.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 200
shared_buffers = '256MB'
work_mem = '16MB'
random_page_cost = 1.1
max_wal_size = '2GB'
max_locks_per_transaction = 256
# Compiling a page's query takes longer than running it.
jit = off
shared_preload_libraries = 'timescaledb'
timescaledb.telemetry_level = off
timezone = 'UTC'
log_timezone = 'UTC'
dynamic_shared_memory_type = {shared_memory}
"""

# Every statement can be run again: a set-up that broke off is finished by running all of them once more.
# The extension goes into template1, so that test databases have it although their role may not install it.
PREPARE_SERVER = """\
SELECT 'CREATE ROLE {role}' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') \\gexec
ALTER ROLE {role} LOGIN CREATEDB PASSWORD '{password}';
\\connect template1
CREATE EXTENSION IF NOT EXISTS timescaledb;
"""
PREPARE_DATABASE = """\
\\connect postgres
SELECT 'CREATE DATABASE {database} OWNER {role}'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{database}') \\gexec
\\connect {database}
CREATE EXTENSION IF NOT EXISTS timescaledb;
"""
# What the marker of a prepared server holds: a newer set-up prepares an older one's server again.
PREPARATION = hashlib.sha256((PREPARE_SERVER + PREPARE_DATABASE + DEMO_DATABASE).encode()).hexdigest()


class Postgres:
    """One private cluster: `binaries` is the folder, as its programs see it, that holds initdb and postgres."""

    title = "PostgreSQL"

    def __init__(self, programs: Programs, binaries: str) -> None:
        self.programs = programs
        self.binaries = binaries
        self.folder = programs.services / "postgres"
        self.data = self.folder / "data"
        self.ready_marker = self.folder / "ready"

    @property
    def log(self) -> Path:
        """The server's own log."""
        return self.programs.state.log / "postgres.log"

    def pid(self) -> int | None:
        """The process id of this cluster's server, or None when it does not run.

        A pid file alone proves nothing: after a crash its number may be somebody else's. The server is the process
        whose working directory is the data folder.
        """
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            return pid if os.path.samefile(f"/proc/{pid}/cwd", self.data) else None
        except (OSError, ValueError):
            return None

    def port(self) -> int | None:
        """The port that the running server, or else the last one, listens on."""
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n")[3])
        except (OSError, ValueError, IndexError):
            settings = self.data / "ridgeline.conf"
            match = re.search(r"^port = (\d+)$", settings.read_text(), re.M) if settings.exists() else None
            return int(match[1]) if match else None

    def up(self, url: str | None) -> tuple[str, bool]:
        """Bring the cluster up. Returns the URL of its database and whether this call started the server.

        `url` is the one given out before, whose password is kept.
        """
        self._make()
        started = self.pid() is None
        if started:
            self._start()
        port = self.port()
        known = re.fullmatch(rf"postgres://{ROLE}:([^@]+)@127\.0\.0\.1:(\d+)/{DATABASE}", url or "")
        password = known[1] if known else secrets.token_urlsafe(24)
        if not known or not self._is_prepared() or self._lacks_a_database():
            self._prepare_server(password)
        return f"postgres://{ROLE}:{password}@127.0.0.1:{port}/{DATABASE}", started

    def stop(self) -> bool:
        """Stop the server if it runs: sessions are ended, data is written out. Returns whether there was one."""
        pid = self.pid()
        if pid is None:
            return False
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + STOP_SECONDS
        while self.pid() is not None:
            if time.monotonic() > deadline:
                raise CannotProvision(
                    f"PostgreSQL (process {pid}) did not stop within {STOP_SECONDS} s; see {self.log}."
                )
            time.sleep(0.05)
        return True

    def _make(self) -> None:
        """initdb, beside the cluster's place; the finished cluster is moved there, so one that exists is whole."""
        if self.data.is_dir():
            return
        say("creating a private PostgreSQL cluster …")
        self.programs.make_folder(self.folder)
        self.ready_marker.unlink(missing_ok=True)
        partial = self.folder / "data.partial"
        if partial.exists():
            shutil.rmtree(partial)
        superuser = self.folder / "superuser"
        write_private(superuser, secrets.token_urlsafe(24))
        self.programs.give(superuser)
        self.programs.run(
            [
                f"{self.binaries}/initdb",
                f"--pgdata={self.programs.inside(partial)}",
                "--username=postgres",
                f"--pwfile={self.programs.inside(superuser)}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ]
        )
        with (partial / "postgresql.conf").open("a") as settings:
            settings.write("\ninclude 'ridgeline.conf'\n")
        partial.rename(self.data)

    def _start(self) -> None:
        port = free_port(self.port())
        settings = self.data / "ridgeline.conf"
        # A root has no /dev/shm of its own; System V memory needs no folder.
        settings.write_text(SETTINGS.format(port=port, shared_memory="sysv" if self.programs.root else "posix"))
        settings.chmod(0o600)
        self.programs.give(settings)
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # nobody is behind it, see pid()
        with self.log.open("ab") as output:
            server = self.programs.start([f"{self.binaries}/postgres", "-D", self.programs.inside(self.data)], output)
        say(f"starting PostgreSQL on 127.0.0.1:{port} …")
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if server.poll() is not None:
                raise CannotProvision(f"PostgreSQL did not start; its reasons are at the end of {self.log}.")
            if time.monotonic() > deadline:
                raise CannotProvision(f"PostgreSQL was not ready after {START_SECONDS} s; see {self.log}.")
            time.sleep(0.05)

    def _is_prepared(self) -> bool:
        return self.ready_marker.exists() and self.ready_marker.read_text() == PREPARATION

    def _is_ready(self) -> bool:
        """The server writes its state into line 8 of its pid file."""
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
        except OSError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready" and self.pid() is not None

    def _lacks_a_database(self) -> bool:
        """Whether somebody dropped a database that was prepared: it is made again, empty."""
        names = ", ".join(f"'{name}'" for name in (DATABASE, DEMO_DATABASE))
        return self._psql("-At", "-c", f"SELECT count(*) FROM pg_database WHERE datname IN ({names})").strip() != "2"

    def _prepare_server(self, password: str) -> None:
        script = self.folder / "prepare.sql"
        databases = [PREPARE_DATABASE.format(role=ROLE, database=name) for name in (DATABASE, DEMO_DATABASE)]
        write_private(script, PREPARE_SERVER.format(role=ROLE, password=password) + "".join(databases))
        self.programs.give(script)
        try:
            self._psql("-f", self.programs.inside(script))
        finally:
            script.unlink()
        self.ready_marker.write_text(PREPARATION)

    def _psql(self, *arguments: str) -> str:
        """Run psql as the superuser; returns what it printed."""
        connection = f"host=127.0.0.1 port={self.port()} user=postgres dbname=postgres"
        return self.programs.run(
            [f"{self.binaries}/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *arguments, connection],
            env={
                "PGPASSWORD": (self.folder / "superuser").read_text(),
                "PGOPTIONS": "-c client_min_messages=warning",
            },
        )


def major_version(binaries: Path) -> int:
    """The major version of the PostgreSQL in this folder; 0 when it does not run."""
    try:
        words = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True).stdout
    except OSError:
        return 0
    match = re.search(r"\) (\d+)", words)
    return int(match[1]) if match else 0


def has_timescaledb(binaries: Path) -> bool:
    """Whether the PostgreSQL in this folder finds the timescaledb extension's files."""
    # Debian keeps pg_config in the -dev package; there the folder is the version's under /usr/share.
    shared = Path("/usr/share/postgresql") / str(major_version(binaries))
    if (binaries / "pg_config").exists():
        words = subprocess.run([binaries / "pg_config", "--sharedir"], capture_output=True, text=True).stdout
        shared = Path(words.strip())
    return (shared / "extension" / "timescaledb.control").exists()
