"""Alarms with their incident timeline, and the channels that hear of them."""

from django.db import models

from drift.models.playbooks import PlaybookVersion
from fleet.models import Device, HardwareTarget, Release, User, Workload


class Alarm(models.Model):
    """Something that a person should look at: one row as long as it lasts, however often it is seen."""

    class Kind(models.TextChoices):
        """The silent failures of edge inference, each with a playbook of its own."""

        CPU_FALLBACK = "cpu_fallback", "Silent CPU fallback"
        OCCUPANCY_DROP = "occupancy_drop", "Accelerator occupancy drop"
        ENERGY_DRIFT = "energy_drift", "Energy drift"
        LATENCY_DRIFT = "latency_drift", "Latency drift"
        CONFIDENCE_DROP = "confidence_drop", "Confidence drop"
        TELEMETRY_GAP = "telemetry_gap", "Telemetry gap"
        SILENT_AFTER_UPDATE = "silent_after_update", "Silent after update"
        THERMAL_SOAK = "thermal_soak", "Throttling after thermal soak"
        BOM_MISMATCH = "bom_mismatch", "Bill-of-materials mismatch"
        ACCURACY_DROP = "accuracy_drop", "Accuracy drop"
        SLOW_DRIFT = "slow_drift", "Slow drift"
        RELEASE_CREEP = "release_creep", "Creep across releases"

    class State(models.TextChoices):
        """Where the alarm stands with the people."""

        OPEN = "open", "Open"
        ACKNOWLEDGED = "acknowledged", "Acknowledged"
        CLOSED = "closed", "Closed"

    class Severity(models.TextChoices):
        """How soon somebody should look."""

        INFO = "info", "Info"
        WARNING = "warning", "Warning"
        CRITICAL = "critical", "Critical"

    kind = models.CharField(max_length=32, choices=Kind)
    state = models.CharField(max_length=16, choices=State, default=State.OPEN)
    severity = models.CharField(max_length=8, choices=Severity, default=Severity.WARNING)
    # What makes two sightings the same alarm: kind, workload, release, hardware target, device.
    fingerprint = models.CharField(max_length=64)
    workload = models.ForeignKey(Workload, null=True, blank=True, on_delete=models.PROTECT)
    release = models.ForeignKey(Release, null=True, blank=True, on_delete=models.PROTECT)
    hardware_target = models.ForeignKey(HardwareTarget, null=True, blank=True, on_delete=models.PROTECT)
    device = models.ForeignKey(Device, null=True, blank=True, on_delete=models.PROTECT)
    metric = models.CharField(max_length=48, blank=True, default="")
    summary = models.TextField()
    effect = models.FloatField(null=True, blank=True)
    lower = models.FloatField(null=True, blank=True)
    upper = models.FloatField(null=True, blank=True)
    devices_affected = models.PositiveIntegerField(default=0)
    # When the effect began, as far as the data can say; raised_at is when it was first seen.
    started_at = models.DateTimeField()
    raised_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    sightings = models.PositiveIntegerField(default=1)
    evidence = models.JSONField(default=dict, blank=True)
    attribution = models.JSONField(null=True, blank=True)
    assignee = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="alarms")
    playbook = models.ForeignKey(PlaybookVersion, null=True, blank=True, on_delete=models.SET_NULL)

    class Meta:
        ordering = ["-raised_at", "-id"]
        indexes = [models.Index(fields=["state", "-raised_at"]), models.Index(fields=["device", "state"])]
        constraints = [
            models.UniqueConstraint(
                fields=["fingerprint"], condition=~models.Q(state="closed"), name="alarm_open_once_per_fingerprint"
            )
        ]

    def __str__(self) -> str:
        return self.summary


class AlarmEntry(models.Model):
    """One line of an alarm's timeline."""

    alarm = models.ForeignKey(Alarm, on_delete=models.CASCADE, related_name="entries")
    at = models.DateTimeField()
    actor = models.CharField(max_length=160)
    # raised, seen, acknowledged, assigned, noted, closed, notified
    kind = models.CharField(max_length=16)
    text = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["alarm", "at", "id"]

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:%Y-%m-%d %H:%M}"


class NotificationChannel(models.Model):
    """Where alarms are sent: an e-mail address or a signed webhook."""

    class Kind(models.TextChoices):
        """The way of sending."""

        EMAIL = "email", "E-mail"
        WEBHOOK = "webhook", "Webhook"

    name = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=8, choices=Kind)
    target = models.CharField(max_length=500)
    # Key of the HMAC-SHA256 signature that a webhook carries.
    secret = models.CharField(max_length=128, blank=True, default="")
    minimum_severity = models.CharField(max_length=8, choices=Alarm.Severity, default=Alarm.Severity.WARNING)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Notification(models.Model):
    """One message to one channel, kept with what became of it."""

    class Status(models.TextChoices):
        """What became of the message."""

        PENDING = "pending", "Pending"
        SENT = "sent", "Sent"
        FAILED = "failed", "Failed for good"

    alarm = models.ForeignKey(Alarm, on_delete=models.CASCADE, related_name="notifications")
    channel = models.ForeignKey(NotificationChannel, on_delete=models.CASCADE, related_name="notifications")
    status = models.CharField(max_length=8, choices=Status, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    last_error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["alarm", "channel"], name="notification_once_per_channel")]

    def __str__(self) -> str:
        return f"{self.alarm} to {self.channel}"
