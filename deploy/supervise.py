"""Keeps the product's processes running: starts them, restarts a crashed one, stops every one of them at the end."""

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from provisioning import interruption
from provisioning.console import end_group, last_lines, say

POLL_SECONDS = 0.2
GRACE_SECONDS = 25.0  # for requests and tasks under way, when asked to stop; per wave
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
STEADY_SECONDS = 60.0  # a process that ran this long has earned the short pause again
LOG_BYTES = 20_000_000
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Program:
    """One process to keep running: its command, its variables, the log that takes its output."""

    name: str
    command: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    inherited: tuple[int, ...] = ()
    """File descriptors that it gets, such as a listening socket."""
    wave: int = 0
    """Higher waves are stopped first: the clients of programs in lower ones."""


@dataclass
class _Child:
    program: Program
    process: subprocess.Popen[bytes]
    started: float
    log_offset: int
    pause: float = 0.0
    again_at: float | None = None


class Supervisor:
    """Runs programs, each in a process group of its own, and remembers them in `folder` for the run after a kill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: dict[str, _Child] = {}
        folder.mkdir(parents=True)
        # Held for as long as this process lives: whoever can take it knows that the run is over.
        self._lock = (folder / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def start(self, program: Program) -> None:
        """Start a program; it is started again whenever it ends, until stop()."""
        self._children[program.name] = self._launch(program)
        self._remember()

    def has_ended(self, name: str) -> bool:
        """Whether this program's present process has ended."""
        return self._children[name].process.poll() is not None

    def last_words(self, name: str, count: int = 15) -> str:
        """The last lines that this program's present process wrote."""
        child = self._children[name]
        return last_lines(child.program.log, count, child.log_offset)

    def watch(self, until: Callable[[], bool] = interruption.requested) -> None:
        """Look after the programs until told to stop."""
        while not until():
            self._look_after(time.monotonic())
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop all programs, clients before what they talk to; who does not go within the grace period is killed."""
        children = list(self._children.values())
        for wave in sorted({child.program.wave for child in children}, reverse=True):
            _stop([child.process for child in children if child.program.wave == wave])
        self._children.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def _look_after(self, now: float) -> None:
        for name, child in list(self._children.items()):
            if child.again_at is not None:
                if now >= child.again_at:
                    pause = child.pause
                    self._children[name] = self._launch(child.program)
                    self._children[name].pause = pause
                    self._remember()
            elif child.process.poll() is not None:
                end_group(child.process, patience=0.5)  # what it left behind must not hold its port or its queue
                child.pause = next_pause(child.pause, now - child.started)
                how = _ending(child.process.returncode)
                say(f"{name} ended ({how}), starting it again in {child.pause:.0f} s; its log is {child.program.log}")
                child.again_at = now + child.pause

    def _launch(self, program: Program) -> _Child:
        program.log.parent.mkdir(parents=True, exist_ok=True)
        if program.log.exists() and program.log.stat().st_size > LOG_BYTES:
            program.log.replace(program.log.with_suffix(".log.1"))
        with program.log.open("ab") as output:
            process = subprocess.Popen(
                list(program.command),
                env={**os.environ, **program.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=program.inherited,
                process_group=0,
                preexec_fn=_end_with_parent,
            )
            return _Child(program, process, time.monotonic(), output.tell())

    def _remember(self) -> None:
        pids = {name: child.process.pid for name, child in self._children.items()}
        births = {name: [pid, born] for name, pid in pids.items() if (born := _birth(pid)) is not None}
        partial = self.folder / "children.partial"
        partial.write_text(json.dumps(births))
        partial.replace(self.folder / "children.json")


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        # Only the leader is asked: Celery and gunicorn see to their own workers, and must, to finish their work.
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        end_group(process, patience=0.5)


def next_pause(last: float, ran: float) -> float:
    """Seconds to wait before a program starts again that last waited `last` seconds and then ran for `ran` seconds."""
    if last == 0.0 or ran >= STEADY_SECONDS:
        return FIRST_PAUSE
    return min(2 * last, LONGEST_PAUSE)


def end_leftovers(folder: Path) -> None:
    """Kill what runs in this folder of runs left behind when they were killed themselves, and forget those runs."""
    for run in folder.glob("*/lock"):
        with run.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # it lives
            for name, (pid, born) in _read(run.with_name("children.json")).items():
                if _birth(pid) == born:
                    say(f"ending {name} (process {pid}), left over from a run that was killed")
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)
            shutil.rmtree(run.parent, ignore_errors=True)


def _read(path: Path) -> dict[str, list[int]]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def _birth(pid: int) -> int | None:
    """When a living process was started, in clock ticks since boot: with its id that names one process for ever."""
    try:
        # The name, in brackets, may hold anything; the fields are counted behind it, from the third on.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def _ending(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def _end_with_parent() -> None:
    """In the child, on Linux: get SIGTERM when the supervisor is killed before it can send one."""
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


_LIBC = ctypes.CDLL(None)
