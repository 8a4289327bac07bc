"""Deliveries: one attempt to bring a release to a device, and the steps that the device reported."""

from django.db import models

from fleet.models import Device, Release, Workload
from rollouts.models.cohorts import StageRun
from rollouts.models.rollouts import Lane


class Delivery(models.Model):
    """One attempt. Its key is the action id that devices and OTA clients see: a positive 31-bit integer."""

    class Kind(models.TextChoices):
        """Forward or back."""

        INSTALL = "install", "Install"
        ROLLBACK = "rollback", "Roll back"

    class Status(models.TextChoices):
        """How far the attempt has come; the last six are ends."""

        QUEUED = "queued", "Queued"
        OFFERED = "offered", "Offered"
        DOWNLOADING = "downloading", "Downloading"
        INSTALLING = "installing", "Installing"
        INSTALLED = "installed", "Installed"
        BOOTED = "booted", "Booted"
        CONFIRMED = "confirmed", "Confirmed"
        FAILED = "failed", "Failed"
        TIMED_OUT = "timed_out", "Timed out"
        SILENT = "silent", "Silent after the update"
        CANCELLED = "cancelled", "Cancelled"
        SUPERSEDED = "superseded", "Superseded"

    OPEN = (Status.QUEUED, Status.OFFERED, Status.DOWNLOADING, Status.INSTALLING, Status.INSTALLED, Status.BOOTED)
    # The device has begun and has not finished: it occupies a concurrency slot.
    BUSY = (Status.DOWNLOADING, Status.INSTALLING, Status.INSTALLED, Status.BOOTED)

    id = models.AutoField(primary_key=True)
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="deliveries")
    workload = models.ForeignKey(Workload, on_delete=models.PROTECT, related_name="+")
    # Null for a delivery that no rollout ordered.
    lane = models.ForeignKey(Lane, null=True, blank=True, on_delete=models.PROTECT, related_name="deliveries")
    # The stage run whose treated device this is; null for a hold-back that is released after the watch.
    run = models.ForeignKey(StageRun, null=True, blank=True, on_delete=models.PROTECT, related_name="deliveries")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="deliveries")
    previous_release = models.ForeignKey(Release, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.INSTALL)
    status = models.CharField(max_length=12, choices=Status, default=Status.QUEUED)
    attempt = models.PositiveSmallIntegerField(default=1)
    progress = models.PositiveSmallIntegerField(null=True, blank=True)
    detail = models.TextField(blank=True, default="")
    # Not offered before this moment: the pause after a failure, or the penalty box.
    blocked_until = models.DateTimeField(null=True, blank=True)
    # The server wants the device to let go of an attempt that it may have begun.
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    # An OTA client said that it cannot stop any more: it may finish, and then goes on to what is wanted now.
    cancel_refused = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    offered_at = models.DateTimeField(null=True, blank=True)
    progress_at = models.DateTimeField(null=True, blank=True)
    installed_at = models.DateTimeField(null=True, blank=True)
    booted_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # Inferences with the release's label, as counted when it was last looked at.
    confirmed_inferences = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["device", "workload"],
                condition=models.Q(
                    status__in=["queued", "offered", "downloading", "installing", "installed", "booted"],
                    cancel_requested_at=None,
                ),
                name="delivery_one_open_per_workload",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    status__in=[
                        "queued",
                        "offered",
                        "downloading",
                        "installing",
                        "installed",
                        "booted",
                        "confirmed",
                        "failed",
                        "timed_out",
                        "silent",
                        "cancelled",
                        "superseded",
                    ]
                ),
                name="delivery_status_known",
            ),
        ]
        indexes = [
            models.Index(fields=["device", "-id"]),
            models.Index(fields=["lane", "kind", "status"]),
            models.Index(fields=["run", "device"]),
            models.Index(
                fields=["status"],
                condition=models.Q(status__in=["offered", "downloading", "installing", "installed", "booted"]),
                name="delivery_in_flight",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def is_open(self) -> bool:
        """Whether the attempt can still move."""
        return self.status in self.OPEN


class DeliveryStep(models.Model):
    """One message of a device about a delivery."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="steps")
    at = models.DateTimeField()
    status = models.CharField(max_length=12)
    progress = models.PositiveSmallIntegerField(null=True, blank=True)
    detail = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["delivery", "id"]

    def __str__(self) -> str:
        return f"{self.status} {self.detail[:40]}".strip()
