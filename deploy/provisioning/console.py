"""What the set-up tells its reader: one line per step, a heartbeat for long ones, one sentence when it cannot go on."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HEARTBEAT_SECONDS = 5.0


class CannotProvision(Exception):
    """A way that cannot be taken here; its message is one sentence that says why and what would help."""


def say(message: str) -> None:
    """Print one line of progress on standard error, so that standard output stays free for results."""
    print(f"ridgeline: {message}", file=sys.stderr, flush=True)


def run_step(title: str, command: Sequence[str], log: Path, env: dict[str, str] | None = None) -> None:
    """Run a long command with its output in `log`, saying every few seconds how long it has taken.

    Raises CannotProvision with the last line that the command wrote when it fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    say(f"{title} …")
    started = time.monotonic()
    with log.open("ab") as output:
        start_of_output = output.tell()
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(env or {})}
        )
        while True:
            try:
                status = process.wait(timeout=HEARTBEAT_SECONDS)
                break
            except subprocess.TimeoutExpired:
                say(f"{title} … {time.monotonic() - started:.0f} s")
    if status != 0:
        raise CannotProvision(f"{title} failed ({_last_line(log, start_of_output)}); the whole output is in {log}.")


def _last_line(log: Path, offset: int) -> str:
    with log.open("rb") as output:
        output.seek(offset)
        lines = [line.strip() for line in output.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"
