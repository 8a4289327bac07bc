"""What the set-up tells its reader: one line per step, a heartbeat for long ones, one sentence when it cannot go on."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from provisioning import interruption

HEARTBEAT_SECONDS = 5.0
POLL_SECONDS = 0.2


class CannotProvision(Exception):
    """A step or a way that cannot be taken here; its message is one sentence that says why and what would help."""


def say(message: str) -> None:
    """Print one line of progress on standard error, so that standard output stays free for results."""
    print(f"ridgeline: {message}", file=sys.stderr, flush=True)


def run_step(title: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a long command with its output in `log`, saying every few seconds how long it has taken.

    Raises CannotProvision with the last line that the command wrote when it fails.
    """
    with _opened(log) as output:
        _run(title, command, output, output, env)


def run_for_output(title: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> str:
    """As run_step, but returns what the command wrote to standard output; only its errors go to `log`."""
    with _opened(log) as errors, tempfile.TemporaryFile() as output:
        _run(title, command, output, errors, env)
        output.seek(0)
        return output.read().decode()


def run_in_view(title: str, command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command whose output is what the reader came for; returns its exit status."""
    say(f"{title} …")
    process = subprocess.Popen(list(command), env=dict(env), stdin=subprocess.DEVNULL, process_group=0)
    return _wait(title, process, heartbeat=False)


def last_lines(log: Path, count: int = 1, offset: int = 0) -> str:
    """The last lines with anything on them in a log, from a byte offset on."""
    with contextlib.suppress(OSError), log.open("rb") as output:
        output.seek(offset)
        lines = [line.rstrip() for line in output.read().decode(errors="replace").splitlines() if line.strip()]
        return "\n".join(lines[-count:])
    return ""


def _opened(log: Path) -> IO[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")


def _run(
    title: str, command: Sequence[str], output: IO[bytes], errors: IO[bytes], env: Mapping[str, str] | None
) -> None:
    say(f"{title} …")
    offset = errors.tell()
    environment = {**os.environ, **(env or {})}
    try:
        process = subprocess.Popen(
            list(command), env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, process_group=0
        )
    except FileNotFoundError:
        raise CannotProvision(f"{title} needs the program {command[0]}, which is not installed.") from None
    if _wait(title, process, heartbeat=True) != 0:
        reason = last_lines(Path(errors.name), offset=offset).strip() or f"exit status {process.returncode}"
        raise CannotProvision(f"{title} failed ({reason}); the whole output is in {errors.name}.")


def _wait(title: str, process: subprocess.Popen[bytes], *, heartbeat: bool) -> int:
    """Wait for a process; when this program is asked to stop, or breaks off, it ends with all its children."""
    started = spoken = time.monotonic()
    try:
        while True:
            try:
                return process.wait(timeout=POLL_SECONDS)
            except subprocess.TimeoutExpired:
                interruption.check()
            if heartbeat and time.monotonic() - spoken >= HEARTBEAT_SECONDS:
                spoken = time.monotonic()
                say(f"{title} … {spoken - started:.0f} s")
    except BaseException:
        end_group(process)
        raise


def end_group(process: subprocess.Popen[bytes], patience: float = 10.0) -> None:
    """End a process that leads its own group: politely, then for certain, with everything that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=patience)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
