"""Bearer tokens of devices, gateways and people, and the keys with which devices enrol."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from fleet.models.devices import Device, DeviceGroup, HardwareTarget, Region
from fleet.models.people import User


class Token(models.Model):
    """A bearer token `rdl_<key_id>_<secret>`; only an HMAC of the secret is kept."""

    class Kind(models.TextChoices):
        """Whose token it is, which decides the endpoints that it opens."""

        DEVICE = "device", "Device"
        GATEWAY = "gateway", "Gateway"
        API = "api", "Personal API token"

    kind = models.CharField(max_length=8, choices=Kind)
    key_id = models.CharField(max_length=8, unique=True)
    secret_hmac = models.BinaryField(max_length=32)
    pepper_version = models.PositiveSmallIntegerField()
    # A gateway token belongs to the gateway's own device row.
    device = models.ForeignKey(Device, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens")
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=64, blank=True, default="")
    scopes = ArrayField(models.CharField(max_length=32), default=list, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind="api", user__isnull=False, device__isnull=True)
                | models.Q(kind__in=["device", "gateway"], device__isnull=False, user__isnull=True),
                name="token_has_one_owner",
            )
        ]

    def __str__(self) -> str:
        return f"rdl_{self.key_id}_…"


class EnrollmentKey(models.Model):
    """A key with which devices enrol themselves; each null scope means any."""

    name = models.CharField(max_length=64)
    key_id = models.CharField(max_length=8, unique=True)
    secret_hmac = models.BinaryField(max_length=32)
    pepper_version = models.PositiveSmallIntegerField()
    hardware_target = models.ForeignKey(HardwareTarget, null=True, blank=True, on_delete=models.PROTECT)
    region = models.ForeignKey(Region, null=True, blank=True, on_delete=models.PROTECT)
    groups = models.ManyToManyField(DeviceGroup, blank=True)
    max_uses = models.PositiveIntegerField(null=True, blank=True)
    uses = models.PositiveIntegerField(default=0)
    requires_approval = models.BooleanField(default=False)
    # Lets a device name a hardware target or region that is not registered yet, which then is.
    may_register_labels = models.BooleanField(default=False)
    # Lets a device that is already enrolled get a further token; without it a known serial is refused (409).
    allows_reenrollment = models.BooleanField(default=False)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(max_uses__isnull=True) | models.Q(uses__lte=models.F("max_uses")),
                name="enrollment_key_uses_within_limit",
            )
        ]

    def __str__(self) -> str:
        return self.name
