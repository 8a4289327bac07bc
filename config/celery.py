"""The Celery application and the whole beat schedule."""

import os

from celery import Celery
from celery.schedules import crontab

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
    "advance deliveries": {"task": "rollouts.tasks.advance_deliveries", "schedule": 10.0},
    "raise and settle alarms": {"task": "drift.tasks.raise_alarms", "schedule": 60.0},
    "send messages about alarms": {"task": "drift.tasks.send_notifications", "schedule": 15.0},
    "compute the drift board": {"task": "drift.tasks.compute_board", "schedule": crontab(minute=7)},
}
# What comes every few seconds is worthless once the next one is due: a busy worker must not find a heap of them.
for entry in app.conf.beat_schedule.values():
    if isinstance(entry["schedule"], float):
        entry["options"] = {"expires": entry["schedule"]}
