"""A product of its own for one benchmark: a fresh database on the server of DATABASE_URL, and a web server on it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import environ
import psycopg

CHECKOUT = Path(__file__).resolve().parent.parent
ENVIRONMENT = CHECKOUT / ".local" / "env"


def use_temporary_database() -> str:
    """Create a database and point the environment at it; its name. Call before Django is set up."""
    environ.Env.read_env(ENVIRONMENT, overwrite=False)
    if "DATABASE_URL" not in os.environ:
        raise SystemExit("DATABASE_URL is not set; script/server writes it into .local/env.")
    name = f"ridgeline_benchmark_{os.getpid()}"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    os.environ["RIDGELINE_BENCHMARK_SERVER"] = os.environ["DATABASE_URL"]
    os.environ["DATABASE_URL"] = urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))
    return name


def drop_database(name: str) -> None:
    """Drop a database that `use_temporary_database` made."""
    with psycopg.connect(os.environ["RIDGELINE_BENCHMARK_SERVER"], autocommit=True) as connection:
        for _ in range(60):
            try:
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
                return
            except psycopg.errors.InsufficientPrivilege:
                # autovacuum is at work in it, which belongs to somebody else and is soon over
                time.sleep(1)


@contextmanager
def temporary_product() -> Iterator[None]:
    """Django, set up on a migrated database that is dropped in the end."""
    name = use_temporary_database()
    try:
        sys.path.insert(0, str(CHECKOUT))
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        call_command("migrate", verbosity=0)
        yield
        for connection in connections.all():
            connection.close()
            if getattr(connection, "pool", None):
                connection.close_pool()
    finally:
        drop_database(name)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class WebServer:
    """gunicorn as the product runs it, on the benchmark's database; with a log its words go there."""

    def __init__(self, *, workers: int, threads: int, log: Path | None = None, **environment: str) -> None:
        self.port = free_port()
        self._log = log
        self._environment = os.environ | {
            "RIDGELINE_WEB_WORKERS": str(workers),
            "RIDGELINE_WEB_THREADS": str(threads),
            # no run is throttled by the product's own limits
            "RIDGELINE_INGEST_RATE": "1e6",
            "RIDGELINE_INGEST_BURST": "1000000",
            **environment,
        }
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "gunicorn", "-c", str(CHECKOUT / "deploy" / "gunicorn.conf.py")]
        with ExitStack() as stack:
            self._process = subprocess.Popen(
                [*command, "--bind", f"127.0.0.1:{self.port}"],
                cwd=CHECKOUT,
                env=self._environment,
                start_new_session=True,
                stderr=stack.enter_context(self._log.open("ab")) if self._log else None,
            )
        for _ in range(600):
            if self._process.poll() is not None:
                raise SystemExit(f"The web server did not start; its words: {self._log or 'above'}.")
            probe = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                # whatever it answers, even with its database away
                probe.request("GET", "/api/v1/telemetry")
                probe.getresponse().read()
                return
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
            finally:
                probe.close()
        raise SystemExit("The web server does not answer.")

    def stop(self) -> None:
        """Let it end by itself."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=30)

    def kill(self) -> None:
        """SIGKILL to the master and all workers at once, as a power cut would."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=30)

    def processor_seconds(self) -> float:
        """Processor time that its processes have used so far; those of Linux alone tell."""
        return sum(_processor_seconds(pid) for pid in _family(self._process.pid))

    @property
    def pid(self) -> int:
        """Of the master."""
        return self._process.pid


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return [pid, *(descendant for child in children for descendant in _family(child))]


def _processor_seconds(pid: int) -> float:
    """Time that a process has run, in user mode and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
