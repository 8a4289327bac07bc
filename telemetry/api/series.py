"""REST: a metric over time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.http import HttpResponseBase
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import renderers, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fleet.openapi import INVALID, READ
from fleet.tables import CSVRenderer, csv_response
from fleet.timerange import rfc3339
from telemetry.api.questions import (
    FILTER_PARAMETERS,
    GROUP_PARAMETER,
    RANGE_PARAMETERS,
    aliases_text,
    parse_metric,
    parse_question,
    parse_statistics,
    parse_step,
    plain,
)
from telemetry.metrics import error_bound
from telemetry.selectors.series import Series, SeriesGroup, metric_series, series_step
from telemetry.services.folding import catch_up


class PointSerializer(serializers.Serializer):
    """One step: the figures asked for stand beside these, under their names (a kind of fallback, p99.9)."""

    time = serializers.DateTimeField(help_text="Start of the step")
    count = serializers.IntegerField(help_text="Inferences that the figures rest on")
    mean = serializers.FloatField(allow_null=True)
    p50 = serializers.FloatField(allow_null=True, required=False)
    p95 = serializers.FloatField(allow_null=True, required=False)
    p99 = serializers.FloatField(allow_null=True, required=False)
    completeness = serializers.FloatField(
        allow_null=True, help_text="Share of the inferences made that arrived, by the ledger"
    )


class SeriesLineSerializer(serializers.Serializer):
    """One group's points; steps without data are left out."""

    group = serializers.DictField(child=serializers.CharField())
    points = PointSerializer(many=True)


class SeriesSerializer(serializers.Serializer):
    """A metric over time."""

    metric = serializers.CharField()
    unit = serializers.CharField()
    step = serializers.IntegerField(help_text="Seconds; a multiple of the tier that the range is read from")
    relative_error = serializers.FloatField(required=False, help_text="Bound of a quantile's error")
    absolute_error = serializers.FloatField(required=False, help_text="The same, of a quantile on [0, 1]")
    without_percentiles = serializers.IntegerField(
        required=False, help_text="Inferences that came in sums alone, or in buckets too wide to tell percentiles from"
    )
    as_of = serializers.DateTimeField(help_text="Everything stored before this moment is included")
    series = SeriesLineSerializer(many=True)


class SeriesView(APIView):
    """A metric over time: percentiles from merged histograms, exact means, rates."""

    scope = "telemetry"
    renderer_classes = [renderers.JSONRenderer, CSVRenderer]

    @extend_schema(
        operation_id="series_retrieve",
        parameters=[
            OpenApiParameter("metric", str, required=True, description=aliases_text()),
            OpenApiParameter("quantiles", str, description="0.5,0.95,0.99 or p50,p95,p99"),
            OpenApiParameter("stat", str, description="mean, sum, min, max, stddev, a kind of rate, or p95"),
            OpenApiParameter("step", str, description="Seconds, or 5m, 1h, 1d; rounded up to what the range allows"),
            GROUP_PARAMETER,
            *RANGE_PARAMETERS,
            *FILTER_PARAMETERS,
        ],
        responses={200: SeriesSerializer, **READ, **INVALID},
    )
    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """The series as JSON, or one row per point as CSV."""
        now = timezone.now()
        parameters = request.query_params.dict()
        metric = parse_metric(parameters.get("metric"))
        asked = parse_statistics(parameters, metric)
        wanted = parse_step(parameters.get("step"))
        question = parse_question(parameters, now=now)
        as_of = catch_up(now)
        step = series_step(question.selection, question.range.start, question.range.end, now=now, wanted=wanted)
        series = metric_series(
            question.selection,
            metric,
            start=question.range.start,
            end=question.range.end,
            step=step,
            quantiles=asked.quantiles,
            stats=asked.stats,
            group_by=question.group_by,
        )
        if request.accepted_renderer.format == "csv":
            rows = [row for group in series.groups for row in table_rows(series, group)]
            columns = list(dict.fromkeys(column for row in rows[:1] for column in row)) or ["time", "count"]
            return csv_response(f"series-{metric.name}", columns, rows)
        return Response(document(series, as_of=as_of))


def document(series: Series, *, as_of: datetime) -> dict[str, Any]:
    """A series as JSON."""
    return {
        "metric": series.metric.name,
        "unit": series.metric.unit,
        "step": int(series.step.total_seconds()),
        **error_bound(series.metric),
        **({"without_percentiles": series.unbinned} if series.unbinned else {}),
        "from": rfc3339(series.start),
        "to": rfc3339(series.end),
        "as_of": rfc3339(as_of),
        "series": [{"group": group.group, "points": list(points(series, group))} for group in series.groups],
    }


def points(series: Series, group: SeriesGroup) -> Iterator[dict[str, Any]]:
    """The points of a group in which something was measured or is known to be lost."""
    counts, complete = group.count.tolist(), group.completeness.tolist()
    values = {name: column.tolist() for name, column in group.values.items()}
    for k, time in enumerate(series.times):
        if counts[k] or complete[k] < 1:
            yield {
                "time": rfc3339(time),
                "count": counts[k],
                **{name: plain(column[k]) for name, column in values.items()},
                "completeness": plain(complete[k]),
            }


def table_rows(series: Series, group: SeriesGroup) -> Iterator[dict[str, Any]]:
    """The points of a group as rows of a table."""
    for point in points(series, group):
        yield {"time": point["time"], **group.group, **point}
