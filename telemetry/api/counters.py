"""REST: what the cumulative counters of a device rose by, as rates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from django.http import HttpResponseBase
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import renderers, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fleet.exceptions import InvalidInput
from fleet.openapi import INVALID, READ
from fleet.tables import CSVRenderer, csv_response
from fleet.timerange import rfc3339
from telemetry.api.questions import RANGE_PARAMETERS, parse_question, parse_step
from telemetry.resolution import MINUTE, choose_step
from telemetry.store.events import CounterStep, counter_rates

COLUMNS = ("name", "time", "delta", "seconds", "per_second")


class CounterPointSerializer(serializers.Serializer):
    """One step of one counter."""

    time = serializers.DateTimeField(help_text="Start of the step")
    delta = serializers.FloatField(help_text="By how much the counter rose; a reset counts from zero")
    seconds = serializers.FloatField(help_text="Over how many seconds, from reading to reading")
    per_second = serializers.FloatField(allow_null=True)


class CounterSerializer(serializers.Serializer):
    """One counter of the device."""

    name = serializers.CharField()
    points = CounterPointSerializer(many=True)


class CountersSerializer(serializers.Serializer):
    """The counters of a device over a range."""

    device = serializers.CharField(help_text="Serial")
    step = serializers.IntegerField(help_text="Seconds")
    counters = CounterSerializer(many=True)


class CountersView(APIView):
    """How fast the counters of a device rose: differences of readings, resets handled, in whatever order they came."""

    scope = "telemetry"
    renderer_classes = [renderers.JSONRenderer, CSVRenderer]

    @extend_schema(
        operation_id="counters_retrieve",
        parameters=[
            OpenApiParameter("device", str, required=True, description="Serial or id"),
            OpenApiParameter("name", str, description="One counter or several with commas; default all"),
            OpenApiParameter("step", str, description="Seconds, or 5m, 1h, 1d; rounded up to what the range allows"),
            *RANGE_PARAMETERS,
        ],
        responses={200: CountersSerializer, **READ, **INVALID},
    )
    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """The rates as JSON, or one row per counter and step as CSV."""
        parameters = request.query_params.dict()
        wanted = parse_step(parameters.get("step"))
        question = parse_question(parameters, now=timezone.now())
        devices = question.selection.device_ids or ()
        if len(devices) != 1:
            raise InvalidInput({"device": "Name one device: counters are kept device by device."})
        start, end = question.range.start, question.range.end
        step = choose_step(start, end, finest=MINUTE, wanted=wanted)
        names = {name.strip() for name in parameters.get("name", "").split(",") if name.strip()}
        found = [row for row in counter_rates(devices[0], start, end, step) if not names or row.name in names]
        if request.accepted_renderer.format == "csv":
            return csv_response("counters", COLUMNS, ({"name": row.name, **_point(row)} for row in found))
        return Response(
            {
                "device": parameters["device"],
                "step": int(step.total_seconds()),
                "counters": list(_counters(found)),
            }
        )


def _counters(rows: Iterable[CounterStep]) -> Iterator[dict[str, Any]]:
    for name, points in groupby(rows, key=lambda row: row.name):
        yield {"name": name, "points": [_point(row) for row in points]}


def _point(row: CounterStep) -> dict[str, Any]:
    return {
        "time": rfc3339(row.time),
        "delta": row.delta,
        "seconds": row.seconds,
        "per_second": row.delta / row.seconds if row.seconds else None,
    }
