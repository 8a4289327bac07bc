"""What an OpenTelemetry SDK with cumulative temporality sent last, so that the next point becomes an increase."""

from django.db import models

from fleet.models import Device


class CumulativeSeries(models.Model):
    """The last cumulative point of one series of a device, kept in the transaction that counts its increase."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="+", db_index=False)
    # of the labels, the instrument and the attributes
    digest = models.CharField(max_length=32)
    start_us = models.BigIntegerField()
    end_us = models.BigIntegerField()
    point = models.JSONField()

    class Meta:
        verbose_name_plural = "cumulative series"
        constraints = [models.UniqueConstraint(fields=["device", "digest"], name="cumulative_series_once")]

    def __str__(self) -> str:
        return self.digest
