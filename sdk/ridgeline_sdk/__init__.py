"""Ridgeline on the device: measure inferences, keep them through outages, deliver each exactly once."""

from .client import Client
from .clock import SystemClock
from .desired import Artifact, Desired, ReleaseClient
from .enroll import Credentials, EnrollmentRefused, enroll, enroll_once, rotate
from .histogram import ExponentialHistogram, UnitHistogram
from .recorder import Device
from .spool import Spool, SpoolBusy
from .transport import Transport, TransportError

__all__ = [
    "Artifact",
    "Client",
    "Credentials",
    "Desired",
    "Device",
    "EnrollmentRefused",
    "ExponentialHistogram",
    "ReleaseClient",
    "Spool",
    "SpoolBusy",
    "SystemClock",
    "Transport",
    "TransportError",
    "UnitHistogram",
    "enroll",
    "enroll_once",
    "rotate",
]
