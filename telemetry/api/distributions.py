"""REST: whole distributions of a metric, by group."""

from __future__ import annotations

from collections.abc import Iterator
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
    parse_metric,
    parse_quantiles,
    parse_question,
    plain,
)
from telemetry.metrics import DEFAULT_QUANTILES, METRICS, error_bound
from telemetry.selectors.completeness import completeness
from telemetry.selectors.distributions import Distribution, covered_range, metric_distributions
from telemetry.services.folding import catch_up


class BinSerializer(serializers.Serializer):
    """One bin of a histogram."""

    lower = serializers.FloatField()
    upper = serializers.FloatField()
    count = serializers.IntegerField()
    cumulative = serializers.FloatField(help_text="ECDF at the upper limit: share of values at or below it")


class DistributionSerializer(serializers.Serializer):
    """One group's values."""

    group = serializers.DictField(child=serializers.CharField())
    count = serializers.IntegerField()
    mean = serializers.FloatField(allow_null=True)
    quantiles = serializers.DictField(child=serializers.FloatField())
    bins = BinSerializer(many=True)


class DistributionsSerializer(serializers.Serializer):
    """Distributions of a metric."""

    metric = serializers.CharField()
    unit = serializers.CharField()
    relative_error = serializers.FloatField(required=False)
    absolute_error = serializers.FloatField(required=False)
    as_of = serializers.DateTimeField()
    completeness = serializers.FloatField(allow_null=True)
    groups = DistributionSerializer(many=True)


class DistributionsView(APIView):
    """Merged histograms of a selection, with quantiles, ECDF and n."""

    scope = "telemetry"
    renderer_classes = [renderers.JSONRenderer, CSVRenderer]

    @extend_schema(
        operation_id="distributions_retrieve",
        parameters=[
            OpenApiParameter(
                "metric",
                str,
                required=True,
                description=", ".join(name for name, metric in METRICS.items() if metric.histogram),
            ),
            OpenApiParameter("quantiles", str, description="0.5,0.95,0.99 or p50,p95,p99"),
            GROUP_PARAMETER,
            *RANGE_PARAMETERS,
            *FILTER_PARAMETERS,
        ],
        responses={200: DistributionsSerializer, **READ, **INVALID},
    )
    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """The distributions as JSON, or one row per bin as CSV; the range is widened to whole stored rows."""
        now = timezone.now()
        parameters = request.query_params.dict()
        metric = parse_metric(parameters.get("metric"), with_histogram=True)
        quantiles = parse_quantiles(parameters.get("quantiles")) or DEFAULT_QUANTILES
        question = parse_question(parameters, now=now)
        as_of = catch_up(now)
        start, end = covered_range(question.selection, question.range.start, question.range.end, now=now)
        found = metric_distributions(
            question.selection, metric, start=start, end=end, quantiles=quantiles, group_by=question.group_by
        )
        if request.accepted_renderer.format == "csv":
            columns = [*(found[0].group if found else ()), "lower", "upper", "count", "cumulative"]
            rows = ({**d.group, **row} for d in found for row in bins(d))
            return csv_response(f"distribution-{metric.name}", columns, rows)
        return Response(
            {
                "metric": metric.name,
                "unit": metric.unit,
                **error_bound(metric),
                "from": rfc3339(start),
                "to": rfc3339(end),
                "as_of": rfc3339(as_of),
                "completeness": completeness(question.selection, start=start, end=end).share,
                "groups": [
                    {
                        "group": distribution.group,
                        "count": distribution.count,
                        "mean": plain(distribution.mean),
                        "quantiles": distribution.quantiles,
                        "bins": list(bins(distribution)),
                    }
                    for distribution in found
                ],
            }
        )


def bins(distribution: Distribution) -> Iterator[dict[str, Any]]:
    """The bins that hold values, those of zeros first."""
    if distribution.zero:
        share = distribution.zero / distribution.count
        yield {"lower": 0.0, "upper": 0.0, "count": distribution.zero, "cumulative": share}
    edges, counts, shares = (
        distribution.edges.tolist(),
        distribution.counts.tolist(),
        distribution.ecdf.tolist(),
    )
    for k, count in enumerate(counts):
        if count:
            yield {"lower": edges[k], "upper": edges[k + 1], "count": count, "cumulative": shares[k]}
