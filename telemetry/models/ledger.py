"""The ledger that makes ingest exactly-once, and what it proves missing or refused."""

from datetime import timedelta

from django.db import models
from django.db.models import ExpressionWrapper, F, Q
from django.db.models.lookups import GreaterThan

from fleet.models import Device
from telemetry.models.contexts import Context

# The newest record of a batch is this old when the batch comes: it waited on the device.
LATE = timedelta(minutes=10)
_AGE = ExpressionWrapper(F("received_at") - F("max_time"), models.DurationField())


class Batch(models.Model):
    """One stored batch of a device; its row and its data are one transaction."""

    # Every index costs each batch a tuple, so there is none that another one covers.
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="batches", db_index=False)
    boot_id = models.CharField(max_length=64)
    batch_seq = models.BigIntegerField()
    # Of the decompressed body: a replay with another body is a conflict, not a duplicate.
    sha256 = models.BinaryField(max_length=32)
    received_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    # event time = device time + clock_offset_us
    clock_offset_us = models.BigIntegerField(db_default=0, default=0)
    clock_synced = models.BooleanField(db_default=True, default=True)
    clock_error_ms = models.FloatField(null=True)
    context = models.ForeignKey(Context, null=True, on_delete=models.PROTECT, related_name="batches", db_index=False)
    # accepted
    inferences = models.IntegerField(db_default=0, default=0)
    windows = models.IntegerField(db_default=0, default=0)
    # The raw rows are a sample, kept as detail of the windows: no roll-up counts them.
    sampled = models.BooleanField(db_default=False, default=False)
    # inferences that the windows stand for
    window_inferences = models.BigIntegerField(db_default=0, default=0)
    events = models.IntegerField(db_default=0, default=0)
    states = models.IntegerField(db_default=0, default=0)
    counters = models.IntegerField(db_default=0, default=0)
    rejected = models.IntegerField(db_default=0, default=0)
    unknown_fields = models.IntegerField(db_default=0, default=0)
    # loss admitted by the device since the batch before
    dropped_inferences = models.BigIntegerField(db_default=0, default=0)
    dropped_windows = models.BigIntegerField(db_default=0, default=0)
    dropped_events = models.BigIntegerField(db_default=0, default=0)
    # event times of accepted records
    min_time = models.DateTimeField(null=True)
    max_time = models.DateTimeField(null=True)
    bytes = models.IntegerField(db_default=0, default=0)
    # how often the device sent it again after it was stored
    repeats = models.IntegerField(db_default=0, default=0)
    # the answer to repeat when the batch comes again
    reply = models.JSONField(default=dict, db_default=models.Value({}, output_field=models.JSONField()))

    class Meta:
        verbose_name_plural = "batches"
        constraints = [models.UniqueConstraint(fields=["device", "boot_id", "batch_seq"], name="batch_once")]
        indexes = [
            models.Index(fields=["device", "-received_at"]),
            models.Index(fields=["received_at"]),
            # Losses are rare, so completeness reads this small index and not the ledger.
            models.Index(
                fields=["received_at"],
                condition=models.Q(dropped_inferences__gt=0)
                | models.Q(dropped_windows__gt=0)
                | models.Q(dropped_events__gt=0),
                name="batch_with_drops",
            ),
            # So is what came late, or could not be taken whole, in a fleet that is well.
            models.Index(
                fields=["received_at"],
                condition=Q(GreaterThan(_AGE, LATE)) | Q(rejected__gt=0),
                name="batch_late_or_bad",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.boot_id}/{self.batch_seq}"


class BatchGap(models.Model):
    """Batch numbers that never came: loss seen by the server, until a late batch fills it."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="batch_gaps", db_index=False)
    boot_id = models.CharField(max_length=64)
    # first and last missing batch_seq; a gap that is filled in part is split or narrowed
    missing_from = models.BigIntegerField()
    missing_to = models.BigIntegerField()
    # event times of the neighbours: where on the time axis the loss lies, and how many records it may be
    after_time = models.DateTimeField(null=True)
    before_time = models.DateTimeField(null=True)
    found_at = models.DateTimeField()
    filled_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["device", "boot_id"]),
            models.Index(fields=["before_time"], condition=models.Q(filled_at=None), name="batch_gap_open"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(missing_to__gte=models.F("missing_from")), name="batch_gap_ordered"
            )
        ]

    def __str__(self) -> str:
        return f"{self.boot_id}/{self.missing_from}-{self.missing_to}"

    @property
    def missing(self) -> int:
        """How many batches are missing."""
        return self.missing_to - self.missing_from + 1


class QuarantinedRecord(models.Model):
    """A bad record of a batch whose other records were stored, with the reason."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="quarantined_records", db_index=False)
    batch = models.ForeignKey(Batch, null=True, on_delete=models.SET_NULL, related_name="quarantined_records")
    received_at = models.DateTimeField()
    section = models.CharField(max_length=16)
    index = models.IntegerField(null=True)
    field = models.CharField(max_length=64, blank=True, default="")
    code = models.CharField(max_length=48)
    message = models.TextField()
    # cut at 4 kB
    record = models.JSONField(null=True)

    class Meta:
        indexes = [models.Index(fields=["device", "-received_at"]), models.Index(fields=["received_at", "code"])]

    def __str__(self) -> str:
        return f"{self.section}[{self.index}] {self.code}"


class RequestReject(models.Model):
    """A request that was refused whole: nothing of it was stored."""

    # Null where the request could not be attributed to a device.
    device = models.ForeignKey(
        Device, null=True, on_delete=models.CASCADE, related_name="request_rejects", db_index=False
    )
    at = models.DateTimeField()
    status = models.PositiveSmallIntegerField()
    code = models.CharField(max_length=48)
    message = models.TextField(blank=True, default="")
    # first 512 bytes, and the size of the whole
    body_sample = models.BinaryField(max_length=512, null=True)
    bytes = models.BigIntegerField(db_default=0, default=0)

    class Meta:
        indexes = [models.Index(fields=["device", "-at"]), models.Index(fields=["at", "code"])]

    def __str__(self) -> str:
        return f"{self.status} {self.code}"
