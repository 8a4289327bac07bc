"""What the open device protocol (DDI) keeps about a device beside its deliveries."""

from django.db import models

from fleet.models import Device


class Controller(models.Model):
    """A device as an existing OTA client presents it: its attributes, its polls, and whether it confirms by itself."""

    device = models.OneToOneField(Device, primary_key=True, on_delete=models.CASCADE, related_name="controller")
    attributes = models.JSONField(default=dict)
    # The poll carries the configData link until the client has sent its attributes once.
    attributes_requested = models.BooleanField(default=True)
    last_poll_at = models.DateTimeField(null=True, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    # Whether deliveries wait for a person at the device.
    needs_confirmation = models.BooleanField(default=False)
    auto_confirm = models.BooleanField(default=False)
    auto_confirm_initiator = models.CharField(max_length=64, blank=True, default="")
    auto_confirm_remark = models.CharField(max_length=512, blank=True, default="")
    auto_confirm_at = models.DateTimeField(null=True, blank=True)
    # Action id whose delivery the person at the device confirmed.
    confirmed_action = models.IntegerField(null=True, blank=True)

    def __str__(self) -> str:
        return self.device.serial
