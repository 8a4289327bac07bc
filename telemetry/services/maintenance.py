"""How a maintenance run is recorded: begun before the work, ended with its result, or with what it died of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from telemetry.models import MaintenanceRun

# Is told what is being done, and the share of the whole that is done.
Progress = Callable[[str, float], None]


@dataclass
class Work:
    """What a run reports while it runs."""

    run: MaintenanceRun
    result: dict[str, Any] = field(default_factory=dict)
    succeeded: bool = True

    def report(self, doing: str, progress: float) -> None:
        """Let the status page see how far the run is (share of 1); gone from the result when the run ends."""
        self.run.result = {**self.result, "doing": doing, "progress": round(progress, 3)}
        self.run.save(update_fields=["result"])


@contextmanager
def recorded(kind: str, *, now: datetime, clock: Callable[[], datetime]) -> Iterator[Work]:
    """Leave a row behind for the work in the block; a row without an end is a run that was killed.

    Args:
        clock: tells the time at the end, which is later than `now`.
    """
    run = MaintenanceRun.objects.create(kind=kind, started_at=now)
    work = Work(run)
    try:
        yield work
    except Exception as failure:
        work.result["error"], work.succeeded = f"{type(failure).__name__}: {failure}", False
        raise
    finally:
        run.result, run.succeeded, run.finished_at = work.result, work.succeeded, clock()
        run.save(update_fields=["result", "succeeded", "finished_at"])
