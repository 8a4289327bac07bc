"""Does what should run by itself run? The scheduler, the workers, the queue, and every periodic task."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import redis
from celery import current_app
from celery.schedules import BaseSchedule, crontab, maybe_schedule
from django.conf import settings

from fleet import task_runs
from fleet.status import BAD, GOOD, WARN, Line, Section, words_of_bytes, words_of_seconds
from fleet.task_runs import HEARTBEAT, TaskRun, Worker

# The scheduler orders something every few seconds; after so long without an order it does not run.
BEAT_SILENT = timedelta(minutes=1)
# A task may be late by so many of its periods, and at least by so much: a busy worker is not a stopped one.
LATE_PERIODS, LATE_AT_LEAST, LATE_NIGHTLY = 3, timedelta(minutes=1), timedelta(minutes=30)
LONG_QUEUE, HUGE_QUEUE = 50, 1_000
RUNS_LONG = timedelta(hours=1)

START_BEAT = "Start the task scheduler: script/server does, or celery --app=config.celery beat."
START_WORKER = "Start a task worker: script/server does, or celery --app=config.celery worker."


def redis_server(now: datetime) -> Section:
    """Whether Redis answers and has room."""
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1.0, socket_connect_timeout=1.0)
    question = "The broker of tasks, and what all processes share"
    try:
        began = time.perf_counter()
        client.ping()
        took = time.perf_counter() - began
        info = client.info()
        queued = client.llen(settings.CELERY_TASK_DEFAULT_QUEUE)
    except redis.RedisError as failure:
        remedy = (
            "Start Redis (deploy/provision does); meanwhile devices are served, but no task runs and no throttle holds."
        )
        return Section("redis", "Redis", [Line("Answers", BAD, "no", str(failure)[:200], remedy)], None, question)
    finally:
        client.close()
    used, most = info.get("used_memory", 0), info.get("maxmemory", 0)
    full = most and used > 0.9 * most
    evicts = info.get("maxmemory_policy", "noeviction") != "noeviction" and info.get("evicted_keys", 0)
    lines = [
        Line("Answers", GOOD, f"in {words_of_seconds(took)}", f"version {info.get('redis_version', '?')}"),
        Line(
            "Memory",
            WARN if full or evicts else GOOD,
            f"{words_of_bytes(used)} of {words_of_bytes(most)}" if most else words_of_bytes(used),
            f"{info.get('evicted_keys', 0)} keys were evicted" if evicts else "",
            "Raise maxmemory, and set maxmemory-policy noeviction: a broker must not forget." if full or evicts else "",
        ),
        Line(
            "Tasks in the queue",
            BAD if queued >= HUGE_QUEUE else WARN if queued >= LONG_QUEUE else GOOD,
            str(queued),
            remedy="Start more task workers, or see below what fails." if queued >= LONG_QUEUE else "",
        ),
    ]
    return Section("redis", "Redis", lines, None, question)


def background_work(now: datetime) -> Section:
    """The scheduler, the workers, and each periodic task with when it ran last."""
    began, seen = task_runs.beat()
    schedule = current_app.conf.beat_schedule
    found = task_runs.runs({entry["task"] for entry in schedule.values()}, now)
    lines = [
        beat_line(seen, now),
        workers_line(task_runs.workers(), now),
        *task_lines(schedule, found, began=began, now=now),
    ]
    return Section("tasks", "Background work", lines, None, "Does what should run by itself run?")


def beat_line(seen: datetime | None, now: datetime) -> Line:
    """The scheduler, by when it last ordered a task; one that was never seen is as bad as one that stopped."""
    if seen is None:
        return Line("Task scheduler", BAD, "never seen", "no task has ever been ordered here", START_BEAT)
    silent = now - seen
    if silent > BEAT_SILENT:
        return Line("Task scheduler", BAD, f"silent for {words_of_seconds(silent.total_seconds())}", "", START_BEAT)
    return Line(
        "Task scheduler", GOOD, "runs", f"ordered a task {words_of_seconds(max(silent.total_seconds(), 0))} ago"
    )


def workers_line(workers: list[Worker], now: datetime) -> Line:
    """The workers that said lately that they are there."""
    alive = [worker for worker in workers if now - worker.seen_at <= 3 * HEARTBEAT]
    gone = [worker.name for worker in workers if worker not in alive]
    note = ", ".join(f"{worker.name} ({worker.processes} at once)" for worker in alive)
    if not alive:
        heard = f"last heard: {', '.join(gone)}" if gone else ""
        return Line("Task workers", BAD, "none", heard, START_WORKER)
    if gone:
        return Line(
            "Task workers", WARN, str(len(alive)), f"{note}; not heard any more: {', '.join(gone)}", START_WORKER
        )
    return Line("Task workers", GOOD, str(len(alive)), note)


def task_lines(
    schedule: Mapping[str, Mapping[str, Any]],
    found: Mapping[str, TaskRun],
    *,
    began: datetime | None,
    now: datetime,
) -> Iterator[Line]:
    """One line per entry of the beat schedule.

    Args:
        found: the newest run of each task.
        began: when the scheduler began: a task that has not run yet is late only when it was due since then. None means
            that it never began.
    """
    for name, entry in schedule.items():
        yield _task_line(name, maybe_schedule(entry["schedule"]), found[entry["task"]], began, now)


def _task_line(name: str, schedule: BaseSchedule, run: TaskRun, began: datetime | None, now: datetime) -> Line:
    title = name[0].upper() + name[1:]
    failures = f"; failed {run.failures} times in 24 h, last: {run.last_error}" if run.failures else ""
    since = run.started_at or began
    late = (now - _next_due(schedule, since, now)) if since is not None else None
    every = _every(schedule)
    if since is None or late > _tolerance(schedule):
        value = "never ran" if run.started_at is None else f"last ran {_ago(run.started_at, now)}"
        note = every if late is None else f"{every}; late by {words_of_seconds(late.total_seconds())}"
        return Line(title, BAD, value, note + failures, "Start the scheduler and a worker, or see its log.")
    if run.started_at is None:
        return Line(title, GOOD, "not due yet", every)
    if run.is_running:
        long = now - run.started_at > RUNS_LONG
        remedy = "See the worker's log; a killed worker leaves this behind until the next run." if long else ""
        return Line(title, WARN if long else GOOD, f"runs since {_ago(run.started_at, now)}", every + failures, remedy)
    note = f"{every}; took {words_of_seconds(run.seconds or 0.0)}{failures}"
    if run.error:
        return Line(title, BAD, f"failed {_ago(run.ended_at, now)}", note, f"See the worker's log: {run.error}")
    if run.failures:
        return Line(title, WARN, f"ran {_ago(run.started_at, now)}", note, "It works again; see the worker's log.")
    return Line(title, GOOD, f"ran {_ago(run.started_at, now)}", note)


def _next_due(schedule: BaseSchedule, since: datetime, now: datetime) -> datetime:
    """When the task is due next after a run."""
    at_now = copy.copy(schedule)
    at_now.nowfun = lambda: now
    return now + at_now.remaining_estimate(since)


def _tolerance(schedule: BaseSchedule) -> timedelta:
    if isinstance(schedule, crontab):
        return LATE_NIGHTLY
    return max(LATE_PERIODS * schedule.run_every, LATE_AT_LEAST)


def _every(schedule: BaseSchedule) -> str:
    if not isinstance(schedule, crontab):
        return f"every {words_of_seconds(schedule.run_every.total_seconds())}"
    minute = min(schedule.minute)
    return f"hourly at :{minute:02d}" if len(schedule.hour) == 24 else f"daily at {min(schedule.hour):02d}:{minute:02d}"


def _ago(moment: datetime, now: datetime) -> str:
    return f"{words_of_seconds(max((now - moment).total_seconds(), 0.0))} ago"
