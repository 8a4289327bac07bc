"""Being asked to stop: signals are noted, and acted upon at places where nothing is half-done."""

import signal
from types import FrameType

_noted: list[int] = []


class Interrupted(SystemExit):
    """Ends the program from one of those places, with the exit status that a shell expects after the signal."""


def watch() -> None:
    """From now on note SIGTERM, SIGINT and SIGHUP instead of dying of them."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _note)


def requested() -> bool:
    """Whether somebody asked this program to stop."""
    return bool(_noted)


def check() -> None:
    """Raise Interrupted if somebody asked this program to stop."""
    if _noted:
        # SIGTERM is how a stop is ordered: obeying it is success.
        raise Interrupted(0 if _noted[0] == signal.SIGTERM else 128 + _noted[0])


def _note(number: int, frame: FrameType | None) -> None:
    _noted.append(number)
