"""REST: whole tables as CSV or JSON, streamed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.http import Http404, HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import renderers
from rest_framework.request import Request
from rest_framework.views import APIView

from fleet.openapi import INVALID, READ
from fleet.tables import CSVRenderer, csv_response, json_response
from telemetry.api.questions import FILTER_PARAMETERS, RANGE_PARAMETERS, parse_question
from telemetry.selectors.export import TABLES, table_columns, table_rows


class ExportView(APIView):
    """The rows of a table over a range, as CSV or a JSON array; memory holds a slice of them at a time."""

    scope = "telemetry"
    renderer_classes = [renderers.JSONRenderer, CSVRenderer]

    @extend_schema(
        operation_id="export_list",
        parameters=[
            OpenApiParameter("table", str, OpenApiParameter.PATH, enum=TABLES),
            OpenApiParameter("format", str, enum=["json", "csv"]),
            *RANGE_PARAMETERS,
            *FILTER_PARAMETERS,
        ],
        responses={200: OpenApiResponse(OpenApiTypes.OBJECT, "One object per row"), **READ, **INVALID},
    )
    def get(self, request: Request, table: str, **_: Any) -> HttpResponseBase:
        """Every row of the range; packed histograms come as quantiles, ids as public names."""
        if table not in TABLES:
            raise Http404(f"There is no table “{table}”; there are {', '.join(TABLES)}.")
        question = parse_question(request.query_params.dict(), now=timezone.now())
        rows = table_rows(table, question.selection, start=question.range.start, end=question.range.end)
        if request.accepted_renderer.format == "csv":
            return csv_response(table, table_columns(table), _timed(rows))
        return json_response(table, _timed(rows))


def _timed(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows with times as RFC 3339 text."""
    for row in rows:
        yield {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}
