"""What a record was measured under: the label set of a batch, and the names of predicted classes."""

from django.db import models

from fleet.models import Release, Workload


class Context(models.Model):
    """One label set; its id stands for it in every time-series row. Never changed, never deleted."""

    # Of the label set, as ingest computes it: one look-up instead of a comparison of eight columns.
    digest = models.CharField(max_length=32, unique=True)
    workload = models.ForeignKey(Workload, on_delete=models.PROTECT, related_name="contexts")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="contexts")
    model_version = models.CharField(max_length=128, blank=True, default="")
    firmware_version = models.CharField(max_length=128, blank=True, default="")
    driver_version = models.CharField(max_length=128, blank=True, default="")
    runtime_version = models.CharField(max_length=128, blank=True, default="")
    accelerator = models.CharField(max_length=128, blank=True, default="")
    power_mode = models.CharField(max_length=64, blank=True, default="")
    # {part: {"release": …, "device": …}}: parts of the bill of materials in which the device contradicts its release.
    mismatches = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["workload", "release"])]

    def __str__(self) -> str:
        return f"{self.release} {self.power_mode}".strip()


class ClassLabel(models.Model):
    """The name of a predicted class; its id stands for it in time-series rows."""

    workload = models.ForeignKey(Workload, on_delete=models.PROTECT, related_name="class_labels")
    name = models.CharField(max_length=128)

    class Meta:
        ordering = ["workload", "name"]
        constraints = [models.UniqueConstraint(fields=["workload", "name"], name="class_label_unique")]

    def __str__(self) -> str:
        return self.name
