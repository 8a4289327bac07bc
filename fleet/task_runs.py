"""What ran by itself, and when: written by the Celery processes to the cache, read by the status page.

Nothing here is needed for work to go on. When the cache is away nothing is recorded, and the page says that.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.cache import cache
from django.db import connection

logger = logging.getLogger(__name__)

# A worker says so often that it is there, and counts as gone when it did not for three times as long.
HEARTBEAT = timedelta(seconds=15)
_KEPT_S = 400 * 86_400
_WORKERS_S = 86_400
_HOURS_COUNTED = 24


@dataclass(frozen=True)
class TaskRun:
    """The newest run of a task: begun, ended, how long it took (s), and what it failed of, "" where it did not.

    `failures` counts those of the last day.
    """

    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None
    error: str = ""
    failures: int = 0
    last_error: str = ""
    last_error_at: datetime | None = None

    @property
    def is_running(self) -> bool:
        """Begun and not ended."""
        return self.started_at is not None and (self.ended_at is None or self.ended_at < self.started_at)


@dataclass(frozen=True)
class Worker:
    """A Celery worker: its name, how many tasks it runs at once, and when it was last heard."""

    name: str
    processes: int
    seen_at: datetime


def note_started(task: str, now: datetime) -> None:
    """A worker begins a task."""
    _write({_key("started", task): now})


def note_ended(task: str, now: datetime, *, seconds: float, error: str = "") -> None:
    """A worker has ended a task."""
    written: dict[str, object] = {_key("ended", task): {"at": now, "seconds": seconds, "error": error[:500]}}
    if error:
        written[_key("failed", task)] = {"at": now, "error": error[:500]}
    _write(written)
    if error:
        _count_up(_key("failures", f"{task}:{now:%Y%m%d%H}"))


def note_beat(now: datetime, *, began: bool = False) -> None:
    """The scheduler has begun, or has just ordered a task."""
    _write({_key("beat", "seen"): now} | ({_key("beat", "began"): now} if began else {}))


def note_worker(name: str, processes: int, now: datetime) -> None:
    """A worker is there."""
    try:
        known: dict[str, Worker] = cache.get(_key("workers", "all")) or {}
        kept = {other: worker for other, worker in known.items() if now - worker.seen_at < timedelta(hours=1)}
        cache.set(_key("workers", "all"), kept | {name: Worker(name, processes, now)}, timeout=_WORKERS_S)
    except Exception:
        logger.warning("The cache is away; the worker is not recorded.")


def note_worker_gone(name: str) -> None:
    """A worker ends in order."""
    try:
        known: dict[str, Worker] = cache.get(_key("workers", "all")) or {}
        known.pop(name, None)
        cache.set(_key("workers", "all"), known, timeout=_WORKERS_S)
    except Exception:
        logger.warning("The cache is away; the worker is not recorded.")


def runs(tasks: Iterable[str], now: datetime) -> dict[str, TaskRun]:
    """The newest run of each task; raises whatever the cache's client raises when it is away."""
    tasks = list(tasks)
    hours = [f"{now - timedelta(hours=back):%Y%m%d%H}" for back in range(_HOURS_COUNTED)]
    kinds = ("started", "ended", "failed")
    keys = [_key(kind, task) for kind in kinds for task in tasks]
    keys += [_key("failures", f"{task}:{hour}") for task in tasks for hour in hours]
    found = cache.get_many(keys)
    result = {}
    for task in tasks:
        ended, failed = found.get(_key("ended", task)) or {}, found.get(_key("failed", task)) or {}
        result[task] = TaskRun(
            started_at=found.get(_key("started", task)),
            ended_at=ended.get("at"),
            seconds=ended.get("seconds"),
            error=ended.get("error", ""),
            failures=sum(found.get(_key("failures", f"{task}:{hour}"), 0) for hour in hours),
            last_error=failed.get("error", ""),
            last_error_at=failed.get("at"),
        )
    return result


def beat() -> tuple[datetime | None, datetime | None]:
    """When the scheduler began, and when it last ordered a task; None for what is not known."""
    found = cache.get_many([_key("beat", "began"), _key("beat", "seen")])
    return found.get(_key("beat", "began")), found.get(_key("beat", "seen"))


def workers() -> list[Worker]:
    """The workers heard within the last hour, by name."""
    known: dict[str, Worker] = cache.get(_key("workers", "all")) or {}
    return [known[name] for name in sorted(known)]


def _key(kind: str, what: str) -> str:
    """A Redis may serve several installations, whose databases have different names."""
    return f"tasks:{connection.settings_dict['NAME']}:{kind}:{what}"


def _write(values: dict[str, object]) -> None:
    try:
        cache.set_many(values, timeout=_KEPT_S)
    except Exception:
        logger.warning("The cache is away; task runs are not recorded.")


def _count_up(key: str) -> None:
    try:
        if not cache.add(key, 1, timeout=(_HOURS_COUNTED + 1) * 3600):
            cache.incr(key)
    except Exception:
        logger.warning("The cache is away; failures are not counted.")
