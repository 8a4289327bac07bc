"""REST: why data is not on the chart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.http import HttpResponseBase
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import renderers, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fleet.openapi import INVALID, READ
from fleet.tables import CSVRenderer, csv_response
from fleet.timerange import rfc3339
from telemetry.api.questions import FILTER_PARAMETERS, RANGE_PARAMETERS, parse_question
from telemetry.selectors.ingest_health import MOST_DEVICES, DeviceHealth, IngestHealth, Reason, ingest_health
from telemetry.services.folding import catch_up
from telemetry.store.health import LateAndBad


class ReasonSerializer(serializers.Serializer):
    """One reason for which records or requests were refused."""

    section = serializers.CharField(help_text="Part of the envelope; empty for a request refused whole")
    code = serializers.CharField()
    status = serializers.IntegerField(allow_null=True, help_text="Of the answer to a request refused whole")
    count = serializers.IntegerField()
    devices = serializers.IntegerField()
    newest = serializers.DateTimeField()
    sample = serializers.DictField(allow_null=True, help_text="The newest of what was refused")


class DeviceHealthSerializer(serializers.Serializer):
    """One device."""

    device = serializers.CharField()
    batches = serializers.IntegerField()
    recorded = serializers.IntegerField(
        help_text="Inferences that count: those of windows, and single ones that are no sample of a window"
    )
    accepted = serializers.DictField(child=serializers.IntegerField())
    rejected = serializers.IntegerField()
    refused = serializers.IntegerField()
    throttled = serializers.IntegerField(help_text="Requests answered 429")
    duplicates = serializers.IntegerField()
    missing_batches = serializers.IntegerField()
    dropped = serializers.IntegerField()
    late = serializers.IntegerField()
    unsynced = serializers.IntegerField()
    unknown_fields = serializers.IntegerField()
    clock_skew_ms = serializers.FloatField(allow_null=True)
    last_seen_at = serializers.DateTimeField(allow_null=True)


class UndeclaredSerializer(serializers.Serializer):
    """A release that devices run otherwise than declared; their data are kept."""

    workload = serializers.CharField()
    release = serializers.CharField()
    parts = serializers.ListField(
        child=serializers.CharField(),
        help_text="Of the bill of materials, those that devices contradict; none where nobody registered the release",
    )
    devices = serializers.IntegerField()


class LateSerializer(serializers.Serializer):
    """What came late of one release on one hardware target; it is in its own place all the same."""

    workload = serializers.CharField(allow_null=True, help_text="Null of batches that said nothing of what runs")
    release = serializers.CharField(allow_null=True)
    hardware_target = serializers.CharField()
    batches = serializers.IntegerField(help_text="Whose newest record was older than ten minutes when they came")
    devices = serializers.IntegerField()
    records = serializers.IntegerField(help_text="Inferences in them")
    oldest_s = serializers.FloatField(help_text="Age of the newest record of the batch that waited longest")


class IngestHealthSerializer(serializers.Serializer):
    """Health of ingest over a range."""

    received = serializers.IntegerField()
    dropped = serializers.FloatField(help_text="Inferences that devices admit to have lost")
    missing = serializers.FloatField(help_text="Inferences in batches that never came, estimated")
    completeness = serializers.FloatField(allow_null=True)
    devices_expected = serializers.IntegerField()
    devices_reporting = serializers.IntegerField()
    rejected = serializers.IntegerField(
        help_text="Bad records of stored batches; more than `rejections` hold where a device sent more than is kept"
    )
    rejections = ReasonSerializer(many=True)
    late_batches = serializers.IntegerField()
    late_records = serializers.IntegerField()
    late = LateSerializer(many=True)
    devices_with_trouble = serializers.IntegerField(help_text="`devices` lists the worst 200, the CSV all of them")
    devices = DeviceHealthSerializer(many=True)
    undeclared = UndeclaredSerializer(many=True)


# of the tables as files
REASON_COLUMNS = (*ReasonSerializer().fields, "remedy")
DEVICE_COLUMNS = tuple(DeviceHealthSerializer().fields)
LATE_COLUMNS = tuple(LateSerializer().fields)


class IngestHealthView(APIView):
    """What ingest took, refused, missed or took late; named devices are listed even where nothing is wrong."""

    scope = "telemetry"
    renderer_classes = [renderers.JSONRenderer, CSVRenderer]

    @extend_schema(
        operation_id="ingest_health_retrieve",
        parameters=[*RANGE_PARAMETERS, *FILTER_PARAMETERS],
        responses={200: IngestHealthSerializer, **READ, **INVALID},
    )
    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """The health as JSON, or one row per device as CSV."""
        now = timezone.now()
        question = parse_question(request.query_params.dict(), now=now)
        as_of = catch_up(now)
        as_table = request.accepted_renderer.format == "csv"
        limit = None if as_table else MOST_DEVICES
        health = ingest_health(question.selection, start=question.range.start, end=question.range.end, limit=limit)
        if as_table:
            return csv_response("ingest-health", DEVICE_COLUMNS, device_rows(health))
        return Response(
            {
                "from": rfc3339(question.range.start),
                "to": rfc3339(question.range.end),
                "as_of": rfc3339(as_of),
                "received": health.arrived.received,
                "dropped": health.arrived.dropped,
                "missing": health.arrived.missing,
                "completeness": health.arrived.share,
                "devices_expected": health.arrived.devices_expected,
                "devices_reporting": health.arrived.devices_reporting,
                "rejected": health.rejected,
                "rejections": [reason_row(reason) for reason in health.reasons],
                "late_batches": health.late_batches,
                "late_records": health.late_records,
                "late": [late_row(row) for row in health.late],
                "devices_with_trouble": health.troubled,
                "devices": list(device_rows(health)),
                "undeclared": [UndeclaredSerializer(one).data for one in health.undeclared],
            }
        )


def reason_row(reason: Reason) -> dict[str, Any]:
    """A reason as JSON; a sample without what it does not have."""
    row = asdict(reason)
    if reason.sample is not None:
        row["sample"] = {name: value for name, value in asdict(reason.sample).items() if value not in (None, "")}
    return row


def late_row(row: LateAndBad) -> dict[str, Any]:
    """What came late of one release on one hardware target."""
    return {
        "workload": row.workload,
        "release": row.release,
        "hardware_target": row.hardware_target,
        "batches": row.batches,
        "devices": row.devices,
        "records": row.records,
        "oldest_s": row.oldest.total_seconds() if row.oldest else 0.0,
    }


def device_rows(health: IngestHealth) -> Iterator[dict[str, Any]]:
    """One row per device."""
    return map(_device_row, health.devices)


def _device_row(health: DeviceHealth) -> dict[str, Any]:
    ledger, trouble = health.ledger, health.trouble

    def sums(name: str) -> int:
        return getattr(ledger, name) if ledger else 0

    return {
        "device": health.device.serial,
        "batches": sums("batches"),
        "recorded": sums("recorded"),
        "accepted": {
            name: sums(name) for name in ("inferences", "windows", "window_inferences", "events", "states", "counters")
        },
        # the ledger counts all of them, the quarantine keeps no more than its bounds allow
        "rejected": max(sums("rejected"), trouble.rejected),
        "refused": trouble.refused,
        "throttled": trouble.throttled,
        "duplicates": sums("repeats"),
        "missing_batches": trouble.missing_batches,
        "dropped": trouble.dropped,
        "late": sums("late"),
        "unsynced": sums("unsynced"),
        "unknown_fields": sums("unknown_fields"),
        "clock_skew_ms": health.clock_skew_ms,
        "last_seen_at": health.last_seen_at,
    }
