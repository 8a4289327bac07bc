"""Budgets: what a release may cost on a hardware target, and the waivers that allow it to cost more for a while."""

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models

from fleet.models.devices import HardwareTarget, Workload
from fleet.models.people import Role, User
from fleet.models.releases import Release

# The metrics and distributions for which a budget may set a margin; the drift app measures them.
MARGIN_METRICS = (
    "latency_p50",
    "latency_p95",
    "latency_p99",
    "preprocess_mean",
    "inference_mean",
    "postprocess_mean",
    "queue_mean",
    "energy_mean",
    "energy_spread",
    "power_mean",
    "temperature_mean",
    "throttled_share",
    "confidence_mean",
    "input_quality_mean",
    "memory_mean",
    "accelerator_utilization",
    "queue_depth_mean",
    "fallback_rate",
    "fallback_cpu_rate",
    "fallback_smaller_model_rate",
    "fallback_cloud_rate",
    "fallback_reject_rate",
    "error_rate",
    "error_only_rate",
    "timeout_rate",
    "out_of_memory_rate",
    "retry_rate",
    "confidence_shape",
    "input_quality_shape",
    "class_mix",
)

# Limits that are shares, so that no more than 1 makes sense.
SHARES = ("fallback_rate", "error_rate", "accuracy_drop")

# A waiver may also set aside the device-CI gate, failed or missing, under this name.
QUALIFICATION = "qualification"


class Limit(models.TextChoices):
    """The limits that a budget may set, by the name that the API, waivers and findings use; upper limits all."""

    LATENCY_P95_MS = "latency_p95_ms", "p95 latency (ms)"
    LATENCY_P99_MS = "latency_p99_ms", "p99 latency (ms)"
    ENERGY_MJ = "energy_mj", "Energy per inference (mJ)"
    POWER_W = "power_w", "Sustained power (W)"
    MEMORY_MB = "memory_mb", "Memory (MB)"
    TEMPERATURE_C = "temperature_c", "Temperature ceiling (°C)"
    BOOT_S = "boot_s", "Boot time (s)"
    FALLBACK_RATE = "fallback_rate", "Fallback rate"
    ERROR_RATE = "error_rate", "Error rate"
    ACCURACY_DROP = "accuracy_drop", "Accuracy drop"


class Budget(models.Model):
    """One version of the budget contract of a workload on a hardware target; a change writes a new version."""

    workload = models.ForeignKey(Workload, on_delete=models.PROTECT, related_name="budgets")
    hardware_target = models.ForeignKey(HardwareTarget, on_delete=models.PROTECT, related_name="budgets")
    version = models.PositiveIntegerField()
    # {limit: number}: a hard limit fails a release outright.
    hard_limits = models.JSONField(default=dict)
    # {limit: number}: a preference that is missed is shown and never blocks.
    soft_limits = models.JSONField(default=dict, blank=True)
    # {metric of drift.stats.metrics: largest tolerated effect}, on the metric's own scale (0.05 = 5 % for ratios).
    margins = models.JSONField(default=dict, blank=True)
    rollback_criteria = models.TextField(blank=True, default="")
    # Board roles who may waive a limit, in the order in which they are asked.
    escalation_path = ArrayField(models.CharField(max_length=20, choices=Role.choices), default=list, blank=True)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["workload", "hardware_target", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["workload", "hardware_target", "version"], name="budget_version_unique")
        ]

    def __str__(self) -> str:
        return f"{self.workload.slug} on {self.hardware_target.slug}, version {self.version}"


class Waiver(models.Model):
    """Leave to exceed one limit with one release on one hardware target until a date."""

    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="waivers")
    hardware_target = models.ForeignKey(HardwareTarget, on_delete=models.PROTECT, related_name="waivers")
    # A Limit, or "qualification" for a failed or missing device-CI gate.
    limit = models.CharField(max_length=32)
    reason = models.TextField()
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="waivers_requested")
    approver = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="waivers_approved")
    # The board role in which the approver approved.
    approver_role = models.CharField(max_length=20, choices=Role.choices, blank=True, default="")
    approval_remark = models.TextField(blank=True, default="")
    approved_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(approver__isnull=True, approved_at__isnull=True)
                | models.Q(approver__isnull=False, approved_at__isnull=False),
                name="waiver_approved_by_someone",
            ),
            models.CheckConstraint(
                condition=models.Q(approver__isnull=True) | ~models.Q(approver=models.F("requested_by")),
                name="waiver_four_eyes",
            ),
        ]

    def status(self, now: datetime) -> str:
        """requested, approved, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at <= now:
            return "expired"
        return "requested" if self.approved_at is None else "approved"

    def __str__(self) -> str:
        return f"{self.limit} of {self.release} on {self.hardware_target.slug}"
