"""The tables of the drift app, one file per subject."""

from drift.models.alarms import Alarm, AlarmEntry, Notification, NotificationChannel
from drift.models.evaluations import Evaluation, EvaluationCell, Finding, Retrospective
from drift.models.labels import Label, LabelRequest
from drift.models.playbooks import Playbook, PlaybookVersion

__all__ = [
    "Alarm",
    "AlarmEntry",
    "Evaluation",
    "EvaluationCell",
    "Finding",
    "Label",
    "LabelRequest",
    "Notification",
    "NotificationChannel",
    "Playbook",
    "PlaybookVersion",
    "Retrospective",
]
