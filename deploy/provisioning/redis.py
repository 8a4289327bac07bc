"""The private Redis (or Valkey) server: configured, started, stopped."""

import os
import re
import secrets
import signal
import time
from pathlib import Path

from provisioning.console import CannotProvision, say
from provisioning.programs import Programs
from provisioning.state import free_port, write_private

START_SECONDS = 60
STOP_SECONDS = 30

# The queue survives a restart; a key is never evicted to make room, as a task would be lost silently.
SETTINGS = """\
# Written by deploy/provision at every start.
bind 127.0.0.1
port {port}
requirepass {password}
dir {folder}
pidfile {folder}/pid
databases 64
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


class Redis:
    """One private server: `program` is redis-server or valkey-server as it is called where it runs."""

    title = "Redis"

    def __init__(self, programs: Programs, program: str) -> None:
        self.programs = programs
        self.program = program
        self.folder = programs.services / "redis"
        self.pid_file = self.folder / "pid"

    @property
    def log(self) -> Path:
        """The server's own log."""
        return self.programs.state.log / "redis.log"

    def pid(self) -> int | None:
        """The process id of this folder's server, or None; as for PostgreSQL, its working directory proves it."""
        try:
            pid = int(self.pid_file.read_text())
            return pid if os.path.samefile(f"/proc/{pid}/cwd", self.folder) else None
        except (OSError, ValueError):
            return None

    def up(self, url: str | None) -> tuple[str, bool]:
        """Bring the server up. Returns its URL and whether this call started it; `url` is the one given out before."""
        known = re.fullmatch(r"redis://:([^@]+)@127\.0\.0\.1:(\d+)/0", url or "")
        if self.pid() is not None:
            if known:
                return known[0], False
            self.stop()  # nobody knows its password any more
        password = known[1] if known else secrets.token_urlsafe(24)
        port = free_port(int(known[2]) if known else None)
        self._start(port, password)
        return f"redis://:{password}@127.0.0.1:{port}/0", True

    def stop(self) -> bool:
        """Stop the server if it runs, its data written out. Returns whether there was one."""
        pid = self.pid()
        if pid is None:
            return False
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self.pid() is not None:
            if time.monotonic() > deadline:
                raise CannotProvision(f"Redis (process {pid}) did not stop within {STOP_SECONDS} s; see {self.log}.")
            time.sleep(0.02)
        return True

    def _start(self, port: int, password: str) -> None:
        self.programs.make_folder(self.folder)
        settings = self.folder / "redis.conf"
        write_private(settings, SETTINGS.format(port=port, password=password, folder=self.programs.inside(self.folder)))
        self.programs.give(settings)
        say(f"starting Redis on 127.0.0.1:{port} …")
        offset = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            server = self.programs.start([self.program, self.programs.inside(settings)], output)
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready(offset):
            if server.poll() is not None:
                raise CannotProvision(f"Redis did not start; its reasons are at the end of {self.log}.")
            if time.monotonic() > deadline:
                raise CannotProvision(f"Redis was not ready after {START_SECONDS} s; see {self.log}.")
            time.sleep(0.02)

    def _is_ready(self, offset: int) -> bool:
        """It says so in its log, after it has read its data back."""
        with self.log.open("rb") as log:
            log.seek(offset)
            return b"Ready to accept connections" in log.read()
