"""The Celery application, the whole beat schedule, and what the status page is told of runs."""

import os
import time
from typing import Any

from celery import Celery, Task, signals
from celery.schedules import crontab
from celery.states import FAILURE
from django.utils import timezone

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("ridgeline")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# Every periodic task of the product stands here, so that one file answers "what runs by itself, and how often?".
app.conf.beat_schedule = {
    "fold dirty buckets into the tiers": {"task": "telemetry.tasks.fold_tiers", "schedule": 10.0},
    "find batches that never came": {"task": "telemetry.tasks.find_gaps", "schedule": 15.0},
    "drop chunks past their retention": {
        "task": "telemetry.tasks.apply_retention",
        "schedule": crontab(hour=3, minute=10),
    },
    "audit raw rows against roll-ups": {"task": "telemetry.tasks.audit_tiers", "schedule": crontab(hour=3, minute=40)},
    "evaluate running rollouts": {"task": "rollouts.tasks.evaluate_rollouts", "schedule": 10.0},
    "go on starting large stages": {"task": "rollouts.tasks.start_stages", "schedule": 2.0},
    "advance deliveries": {"task": "rollouts.tasks.advance_deliveries", "schedule": 10.0},
    "remove files that no release refers to": {
        "task": "rollouts.tasks.prune_artifacts",
        "schedule": crontab(hour=4, minute=10),
    },
    "raise and settle alarms": {"task": "drift.tasks.raise_alarms", "schedule": 60.0},
    "send messages about alarms": {"task": "drift.tasks.send_notifications", "schedule": 15.0},
    "compute the drift board": {"task": "drift.tasks.compute_board", "schedule": crontab(minute=7)},
    "look for slow drift and creep": {"task": "drift.tasks.watch_slow_drift", "schedule": crontab(hour=1, minute=20)},
    "take up evaluations whose worker died": {
        "task": "drift.tasks.resume_evaluations",
        "schedule": crontab(minute="*/10"),
    },
    "take up retrospectives whose worker died": {"task": "drift.tasks.resume_retrospectives", "schedule": 60.0},
}
# What comes every few seconds is worthless once the next one is due: a busy worker must not find a heap of them.
for entry in app.conf.beat_schedule.values():
    if isinstance(entry["schedule"], float):
        entry["options"] = {"expires": entry["schedule"]}


# --- what the status page knows of tasks ------------------------------------------------------------------------------
# Django must be set up before fleet.task_runs is imported, and is not yet when this file is read.

_began: dict[str, float] = {}
_in_beat = False


@signals.task_prerun.connect
def _task_begins(task_id: str, task: Task, **_: Any) -> None:
    from fleet import task_runs

    _began[task_id] = time.monotonic()
    task_runs.note_started(task.name, timezone.now())


@signals.task_postrun.connect
def _task_ended(task_id: str, task: Task, state: str, retval: Any, **_: Any) -> None:
    from fleet import task_runs

    seconds = time.monotonic() - _began.pop(task_id, time.monotonic())
    error = f"{type(retval).__name__}: {retval}" if state == FAILURE else ""
    task_runs.note_ended(task.name, timezone.now(), seconds=seconds, error=error)


@signals.beat_init.connect
@signals.beat_embedded_init.connect
def _beat_begins(**_: Any) -> None:
    from fleet import task_runs

    global _in_beat
    _in_beat = True
    task_runs.note_beat(timezone.now(), began=True)


@signals.after_task_publish.connect
def _task_ordered(**_: Any) -> None:
    # web servers and workers order tasks too, which says nothing of the scheduler
    if _in_beat:
        from fleet import task_runs

        task_runs.note_beat(timezone.now())


@signals.worker_ready.connect
def _worker_ready(sender: Any, **_: Any) -> None:
    from fleet import task_runs

    def tell() -> None:
        task_runs.note_worker(sender.hostname, sender.pool.num_processes, timezone.now())

    tell()
    sender.timer.call_repeatedly(task_runs.HEARTBEAT.total_seconds(), tell)


@signals.worker_shutdown.connect
def _worker_ends(sender: Any, **_: Any) -> None:
    from fleet import task_runs

    task_runs.note_worker_gone(sender.hostname)
