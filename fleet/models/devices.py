"""Devices and the labels by which they are grouped: workload, hardware target, region, group."""

from django.db import models


class Labelled(models.Model):
    """A thing known by a short slug, which is what the API and telemetry name it by."""

    slug = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=128)
    description = models.TextField(blank=True, default="")
    created_at = models.DateTimeField()

    class Meta:
        abstract = True
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class Workload(Labelled):
    """What a model is for (lane-assist, defect-detection); releases, budgets and rollouts belong to one workload."""

    # A device that has been quiet for several of these is late; silence after an update is measured in them.
    expected_interval_s = models.PositiveIntegerField(default=60)


class HardwareTarget(Labelled):
    """A board with its accelerator and revision: every hardware target is treated as a product of its own."""

    board = models.CharField(max_length=64, blank=True, default="")
    accelerator = models.CharField(max_length=64, blank=True, default="")
    accelerator_revision = models.CharField(max_length=64, blank=True, default="")
    nominal_power_w = models.FloatField(null=True, blank=True)


class Region(Labelled):
    """Where a device stands; a stratum of every randomisation."""

    timezone = models.CharField(max_length=64, default="UTC")


class DeviceGroup(Labelled):
    """A tag that people put on devices: internal, beta, line-7."""


class Device(models.Model):
    """One machine in the field."""

    class Status(models.TextChoices):
        """Whether the device may send."""

        PENDING = "pending", "Pending approval"
        ACCEPTED = "accepted", "Accepted"
        SUSPENDED = "suspended", "Suspended"
        RETIRED = "retired", "Retired"

    class DeliveryProfile(models.TextChoices):
        """How a release is cut into chunks for the updater that the device runs."""

        GENERIC = "generic", "Every part as its own chunk"
        SWUPDATE = "swupdate", "SWUpdate"
        SINGLE_BUNDLE = "single-bundle", "One bundle (RAUC)"
        ZEPHYR = "zephyr", "Zephyr"

    serial = models.CharField(max_length=128, unique=True)
    hardware_target = models.ForeignKey(HardwareTarget, on_delete=models.PROTECT, related_name="devices")
    region = models.ForeignKey(Region, on_delete=models.PROTECT, related_name="devices")
    groups = models.ManyToManyField(DeviceGroup, related_name="devices", blank=True)
    power_source = models.CharField(max_length=32, blank=True, default="")
    status = models.CharField(max_length=16, choices=Status, default=Status.ACCEPTED)
    # The gateway that may speak for this device (the fog pattern).
    gateway = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="behind")
    delivery_profile = models.CharField(max_length=16, choices=DeliveryProfile, default=DeliveryProfile.GENERIC)
    notes = models.TextField(blank=True, default="")
    enrolled_at = models.DateTimeField()

    class Meta:
        ordering = ["serial"]
        indexes = [models.Index(fields=["hardware_target", "region"])]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=["pending", "accepted", "suspended", "retired"]),
                name="device_status_known",
            )
        ]

    def __str__(self) -> str:
        return self.serial
