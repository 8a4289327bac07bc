"""The tables of the fleet app, one file per subject."""

from fleet.models.access import EnrollmentKey, Token
from fleet.models.audit import AuditEntry
from fleet.models.budgets import Budget, Waiver
from fleet.models.devices import Device, DeviceGroup, HardwareTarget, Region, Workload
from fleet.models.people import User
from fleet.models.releases import Artifact, Release, SigningKey
from fleet.models.saved_views import SavedView

__all__ = [
    "Artifact",
    "AuditEntry",
    "Budget",
    "Device",
    "DeviceGroup",
    "EnrollmentKey",
    "HardwareTarget",
    "Region",
    "Release",
    "SavedView",
    "SigningKey",
    "Token",
    "User",
    "Waiver",
    "Workload",
]
