"""Device CI: what hardware-in-the-loop runs measured of a release, and calibration results per precision."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from fleet.models import HardwareTarget, Release, User


class Qualification(models.Model):
    """One run of a release on a board in one mode. Later runs of the same board and mode replace it in the gate."""

    class Mode(models.TextChoices):
        """Under which conditions."""

        NOMINAL = "nominal", "Nominal"
        STRESS = "stress", "Stress"
        EDGE_CASE = "edge_case", "Edge case"
        THERMAL_SOAK = "thermal_soak", "Thermal soak"

    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="qualifications")
    hardware_target = models.ForeignKey(HardwareTarget, on_delete=models.PROTECT, related_name="qualifications")
    mode = models.CharField(max_length=16, choices=Mode)
    board = models.CharField(max_length=64, blank=True, default="")
    accelerator_revision = models.CharField(max_length=64, blank=True, default="")
    precision = models.CharField(max_length=16, blank=True, default="")
    # {name of rollouts.gate.MEASUREMENTS: number}; histograms are turned into their quantiles on arrival.
    measurements = models.JSONField(default=dict)
    # {"boot": true, "rollback": true, "telemetry": true, …}
    checks = models.JSONField(default=dict)
    unsupported_operators = ArrayField(models.CharField(max_length=128), default=list, blank=True)
    # Link to the CI job, commit, runner: whatever the sender wants to find again.
    source = models.JSONField(default=dict, blank=True)
    submitted_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["release", "hardware_target", "mode"])]

    def __str__(self) -> str:
        return f"{self.release} on {self.hardware_target}, {self.mode}"


class CalibrationResult(models.Model):
    """How a release does on one calibration set in one precision."""

    class Set(models.TextChoices):
        """Which kind of inputs."""

        NOMINAL = "nominal", "Nominal"
        STRESS = "stress", "Stress"
        EDGE_CASE = "edge_case", "Edge case"

    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="calibration_results")
    # Null: the same everywhere (measured off the device).
    hardware_target = models.ForeignKey(
        HardwareTarget, null=True, blank=True, on_delete=models.PROTECT, related_name="calibration_results"
    )
    calibration_set = models.CharField(max_length=64)
    kind = models.CharField(max_length=16, choices=Set)
    precision = models.CharField(max_length=16)
    samples = models.PositiveIntegerField()
    accuracy = models.FloatField()
    # {name: number}: mean confidence, calibration error, per-class recall, …
    measurements = models.JSONField(default=dict, blank=True)
    submitted_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["release", "calibration_set"])]

    def __str__(self) -> str:
        return f"{self.release} {self.calibration_set} {self.precision}"
