"""Whether database, Redis, workers and scheduler are there: asked without a log-in, answered without a secret."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.db import connection

from fleet import task_runs
from fleet.status import BAD, GOOD, WARN, Line, worst

# Who asks more often gets the same answer: probes and the curious cost a connection per process and interval at most.
KEPT = timedelta(seconds=2)
# Seconds to wait for an answer of the database or of Redis.
PATIENCE_S = 2
# The scheduler orders something every few seconds.
BEAT_SILENT = timedelta(minutes=1)

NAMES = {GOOD: "ok", WARN: "degraded", BAD: "away"}


@dataclass(frozen=True)
class Health:
    """The parts as of one moment; away only when the database is, because without it nothing can be answered."""

    as_of: datetime
    database: Line
    redis: Line
    worker: Line
    scheduler: Line

    @property
    def parts(self) -> dict[str, Line]:
        """By the names that machines read."""
        return {
            "database": self.database, "redis": self.redis, "worker": self.worker, "scheduler": self.scheduler,
        }  # fmt: skip

    @property
    def state(self) -> str:
        """ok, degraded or away."""
        if self.database.state == BAD:
            return NAMES[BAD]
        return NAMES[GOOD] if worst(line.state for line in self.parts.values()) == GOOD else NAMES[WARN]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "status": self.state,
            "as_of": self.as_of.isoformat(),
            "parts": {name: {"status": line.value, "note": line.note} for name, line in self.parts.items()},
        }


_asking = Lock()
_last: Health | None = None


def health(now: datetime) -> Health:
    """How things are, at most `KEPT` old; who comes while somebody is asking waits for that answer."""
    global _last
    with _asking:
        if _last is None or not timedelta(0) <= now - _last.as_of < KEPT:
            _last = _ask(now)
        return _last


def _ask(now: datetime) -> Health:
    answers = _redis_answers()
    return Health(
        as_of=now,
        database=_line(
            "Database", _database_answers(), "Nothing can be read or stored; devices keep what they measure."
        ),
        redis=_line("Redis", answers, "Devices are served, but no task runs: no evaluation, no alarm, no message."),
        worker=_worker(now) if answers else _unknown("Task worker"),
        scheduler=_scheduler(now) if answers else _unknown("Task scheduler"),
    )


def _line(name: str, answers: bool, without: str) -> Line:
    return Line(name, GOOD, "ok") if answers else Line(name, BAD, "away", f"It does not answer. {without}")


def _unknown(name: str) -> Line:
    return Line(name, WARN, "unknown", "It says through Redis that it is there, and Redis is away.")


def _database_answers() -> bool:
    """A connection of its own: a pool that is exhausted by requests is busy, not away."""
    parameters = connection.get_connection_params() | {"connect_timeout": PATIENCE_S}
    try:
        psycopg.connect(**parameters).close()
    except psycopg.Error:
        return False
    return True


def _redis_answers() -> bool:
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S, retry=None
    )
    try:
        return bool(client.ping())
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()


def _worker(now: datetime) -> Line:
    try:
        heard = [worker for worker in task_runs.workers() if now - worker.seen_at <= 3 * task_runs.HEARTBEAT]
    except (redis.RedisError, OSError):
        return _unknown("Task worker")
    if heard:
        return Line("Task worker", GOOD, "ok")
    return Line("Task worker", BAD, "away", "None has been heard of: no evaluation, no alarm, no message.")


def _scheduler(now: datetime) -> Line:
    try:
        _, seen = task_runs.beat()
    except (redis.RedisError, OSError):
        return _unknown("Task scheduler")
    if seen is not None and now - seen <= BEAT_SILENT:
        return Line("Task scheduler", GOOD, "ok")
    return Line("Task scheduler", BAD, "away", "It has ordered nothing lately: nothing runs by itself.")
