"""The plain tables of the telemetry app, one file per subject; the store reaches the hypertables."""

from telemetry.models.contexts import ClassLabel, Context
from telemetry.models.devices import Counter, DeviceLatest, Directive, ReleaseSpan
from telemetry.models.ledger import Batch, BatchGap, QuarantinedRecord, RequestReject
from telemetry.models.maintenance import MaintenanceRun
from telemetry.models.otlp import CumulativeSeries

__all__ = [
    "CumulativeSeries",
    "Batch",
    "BatchGap",
    "ClassLabel",
    "Context",
    "Counter",
    "DeviceLatest",
    "Directive",
    "MaintenanceRun",
    "QuarantinedRecord",
    "ReleaseSpan",
    "RequestReject",
]
