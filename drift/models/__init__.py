"""The tables of the drift app, one file per subject."""

from drift.models.alarms import Alarm, AlarmEntry, Notification, NotificationChannel
from drift.models.evaluations import (
    CreepAnchor,
    Evaluation,
    EvaluationCell,
    Finding,
    HoldBackWatch,
    Retrospective,
)
from drift.models.labels import Label, LabelRequest
from drift.models.playbooks import Playbook, PlaybookVersion

__all__ = [
    "Alarm",
    "AlarmEntry",
    "CreepAnchor",
    "Evaluation",
    "EvaluationCell",
    "Finding",
    "HoldBackWatch",
    "Label",
    "LabelRequest",
    "Notification",
    "NotificationChannel",
    "Playbook",
    "PlaybookVersion",
    "Retrospective",
]
