"""What is known of a device without reading time series: latest figures, releases it ran, counters, directives."""

from django.db import models

from fleet.models import Device, DeviceGroup, Release, Workload
from telemetry.models.contexts import Context


class DeviceLatest(models.Model):
    """The newest figures of a workload on a device, kept by ingest in the batch's transaction."""

    # Written with every batch: only columns that seldom change are indexed, so that updates stay on their page.
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="latest", db_index=False)
    workload = models.ForeignKey(Workload, on_delete=models.PROTECT, related_name="+", db_index=False)
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+")
    context = models.ForeignKey(Context, on_delete=models.PROTECT, related_name="+", db_index=False)
    # receive time of the newest batch, and the newest event time in any batch
    last_seen_at = models.DateTimeField()
    last_event_time = models.DateTimeField(null=True)
    boot_id = models.CharField(max_length=64)
    batch_seq = models.BigIntegerField()
    # of the newest batch
    latency_p95_ms = models.FloatField(null=True)
    energy_mj = models.FloatField(null=True)
    confidence = models.FloatField(null=True)
    temperature_c = models.FloatField(null=True)
    power_w = models.FloatField(null=True)
    memory_mb = models.FloatField(null=True)
    battery_pct = models.FloatField(null=True)
    throttled = models.BooleanField(db_default=False, default=False)
    fallback_rate = models.FloatField(null=True)
    error_rate = models.FloatField(null=True)
    clock_skew_ms = models.FloatField(null=True)
    # event time of the first record on this release
    release_since = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "device latest"
        constraints = [models.UniqueConstraint(fields=["device", "workload"], name="device_latest_once")]

    def __str__(self) -> str:
        return f"{self.device} {self.release}"


class ReleaseSpan(models.Model):
    """A stretch of event time in which a device ran one release."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="release_spans", db_index=False)
    workload = models.ForeignKey(Workload, on_delete=models.PROTECT, related_name="+", db_index=False)
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="release_spans", db_index=False)
    first_time = models.DateTimeField()
    last_time = models.DateTimeField()
    first_boot_id = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        ordering = ["device", "first_time"]
        indexes = [
            models.Index(fields=["device", "workload", "first_time"]),
            models.Index(fields=["release", "first_time"]),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(last_time__gte=models.F("first_time")), name="release_span_ordered"
            )
        ]

    def __str__(self) -> str:
        return f"{self.device} {self.release}"


class Counter(models.Model):
    """The last value of a cumulative counter of a device, from which the next one becomes a rate."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="counters", db_index=False)
    name = models.CharField(max_length=128)
    value = models.FloatField()
    time = models.DateTimeField()
    # A new boot starts at zero: the whole value is the increase.
    boot_id = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["device", "name"], name="counter_once")]

    def __str__(self) -> str:
        return self.name


class Directive(models.Model):
    """Settings that devices take from the answer to a batch: for one device, for a group, or (both null) for all."""

    group = models.ForeignKey(DeviceGroup, null=True, blank=True, on_delete=models.CASCADE, related_name="directives")
    device = models.ForeignKey(Device, null=True, blank=True, on_delete=models.CASCADE, related_name="directives")
    # raw_sample_rate, window_s, min_interval_s, max_batch
    values = models.JSONField(default=dict)
    # who wants it: "operator", or the canary that raised it ("rollout 12")
    source = models.CharField(max_length=64, default="operator")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(group__isnull=True) | models.Q(device__isnull=True), name="directive_has_one_scope"
            )
        ]

    def __str__(self) -> str:
        return f"{self.source}: {self.values}"
