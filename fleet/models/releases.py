"""Releases with their whole inference bill of materials, artifacts, and the keys that sign them."""

from django.db import models

from fleet.models.devices import HardwareTarget, Workload
from fleet.models.people import User

# The parts of an inference bill of materials, in the order in which pages show them.
BILL_OF_MATERIALS = (
    "model_version",
    "model_hash",
    "quantization",
    "runtime_version",
    "compiler_version",
    "driver_version",
    "firmware_version",
    "calibration_dataset",
)


class Release(models.Model):
    """A bill of materials for a workload; frozen once published, in the database as well as in the services."""

    class Status(models.TextChoices):
        """A draft may change, published is frozen, withdrawn is retired, unregistered was only seen in telemetry."""

        DRAFT = "draft", "Draft"
        PUBLISHED = "published", "Published"
        WITHDRAWN = "withdrawn", "Withdrawn"
        UNREGISTERED = "unregistered", "Unregistered"

    workload = models.ForeignKey(Workload, on_delete=models.PROTECT, related_name="releases")
    version = models.CharField(max_length=64)
    status = models.CharField(max_length=16, choices=Status, default=Status.DRAFT)
    model_version = models.CharField(max_length=128, blank=True, default="")
    model_hash = models.CharField(max_length=128, blank=True, default="")
    quantization = models.CharField(max_length=128, blank=True, default="")
    runtime_version = models.CharField(max_length=128, blank=True, default="")
    compiler_version = models.CharField(max_length=128, blank=True, default="")
    driver_version = models.CharField(max_length=128, blank=True, default="")
    firmware_version = models.CharField(max_length=128, blank=True, default="")
    calibration_dataset = models.CharField(max_length=128, blank=True, default="")
    # {part: version} for what else is in the bundle (operating system, bootloader, camera tuning).
    other_parts = models.JSONField(default=dict, blank=True)
    # Empty means that every hardware target is supported.
    hardware_targets = models.ManyToManyField(HardwareTarget, related_name="releases", blank=True)
    # Model-zoo metadata: precisions, expected_memory_mb, compile_time_s, energy_profile, fallback_behaviour.
    metadata = models.JSONField(default=dict, blank=True)
    notes = models.TextField(blank=True, default="")
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["workload", "-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["workload", "version"], name="release_unique_per_workload"),
            models.CheckConstraint(
                condition=models.Q(status__in=["draft", "published", "withdrawn", "unregistered"]),
                name="release_status_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workload.slug} {self.version}"

    @property
    def bill_of_materials(self) -> dict[str, str]:
        """The parts by name, the well-known ones first."""
        return {part: getattr(self, part) for part in BILL_OF_MATERIALS} | self.other_parts


class SigningKey(models.Model):
    """An Ed25519 public key whose signatures on artifacts are accepted."""

    name = models.CharField(max_length=64, unique=True)
    public_key = models.BinaryField(max_length=32)
    created_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class Artifact(models.Model):
    """A file of a release: what a device downloads, with the hashes that old and new clients check."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="artifacts")
    # Which part of the bill of materials it carries: model, firmware, runtime, os, bundle.
    part = models.CharField(max_length=32, default="bundle")
    # Null means that every hardware target of the release takes it.
    hardware_target = models.ForeignKey(HardwareTarget, null=True, blank=True, on_delete=models.PROTECT)
    filename = models.CharField(max_length=255)
    # Zero where only a description without a size was registered, until the file itself comes.
    size = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64)
    sha1 = models.CharField(max_length=40, blank=True, default="")
    md5 = models.CharField(max_length=32, blank=True, default="")
    # Path below MEDIA_ROOT; empty where only the description of an artifact kept elsewhere was registered (see url).
    path = models.CharField(max_length=255, blank=True, default="")
    url = models.URLField(blank=True, default="")
    # Ed25519, over the file itself ("content") or over its raw SHA-256 digest ("sha256").
    signature = models.BinaryField(null=True, blank=True)
    signature_form = models.CharField(max_length=8, blank=True, default="")
    signing_key = models.ForeignKey(SigningKey, null=True, blank=True, on_delete=models.PROTECT)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["release", "part", "filename"]
        constraints = [models.UniqueConstraint(fields=["release", "filename"], name="artifact_filename_unique")]

    def __str__(self) -> str:
        return self.filename
