"""Runs of the work that keeps the tiers in order: retention, audit, rebuild."""

from django.db import models


class MaintenanceRun(models.Model):
    """One run, with what it did; shown on the system status page."""

    class Kind(models.TextChoices):
        """What was run."""

        RETENTION = "retention", "Retention"
        AUDIT = "audit", "Audit"
        REBUILD = "rebuild", "Rebuild"

    kind = models.CharField(max_length=16, choices=Kind)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    # Null while it runs, or when it died.
    succeeded = models.BooleanField(null=True)
    result = models.JSONField(default=dict)

    class Meta:
        ordering = ["-started_at", "-id"]
        indexes = [models.Index(fields=["kind", "-started_at"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.started_at:%Y-%m-%d %H:%M}"
