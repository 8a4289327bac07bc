"""REST: events of devices, and of the server about devices."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpResponseBase
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import renderers, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from fleet.exceptions import InvalidInput
from fleet.openapi import INVALID, READ
from fleet.tables import CSVRenderer, csv_response
from telemetry.api.questions import FILTER_PARAMETERS, RANGE_PARAMETERS, Question, parse_question
from telemetry.columns import SEVERITIES
from telemetry.selectors.events import Event, events

PAGE_SIZE, LARGEST_PAGE = 100, 1000
COLUMNS = ("time", "device", "type", "severity", "workload", "release", "detail", "id")


class EventSerializer(serializers.Serializer):
    """One event."""

    id = serializers.UUIDField()
    time = serializers.DateTimeField()
    device = serializers.CharField(help_text="Serial")
    type = serializers.CharField()
    severity = serializers.ChoiceField(SEVERITIES)
    detail = serializers.DictField()
    workload = serializers.CharField(allow_null=True)
    release = serializers.CharField(allow_null=True)


class EventPageSerializer(serializers.Serializer):
    """A page of events, newest first."""

    next = serializers.URLField(allow_null=True)
    results = EventSerializer(many=True)


class EventsView(APIView):
    """Events, newest first: throttling, resets, out-of-memory, boots, and what the server found contradictory."""

    scope = "telemetry"
    renderer_classes = [renderers.JSONRenderer, CSVRenderer]

    @extend_schema(
        operation_id="events_list",
        parameters=[
            OpenApiParameter("type", str, description="One or several with commas"),
            OpenApiParameter("severity", str, enum=SEVERITIES, description="The lowest that counts"),
            OpenApiParameter("cursor", str, description="From `next`"),
            OpenApiParameter("page_size", int, description=f"At most {LARGEST_PAGE}"),
            *RANGE_PARAMETERS,
            *FILTER_PARAMETERS,
        ],
        responses={200: EventPageSerializer, **READ, **INVALID},
    )
    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """A page of events as JSON, or all of them as CSV."""
        parameters = request.query_params.dict()
        question = parse_question(parameters, now=timezone.now())
        asked = _asked(parameters)
        if request.accepted_renderer.format == "csv":
            return csv_response("events", COLUMNS, _all_rows(question, asked))
        size = _page_size(parameters)
        found = events(
            question.selection,
            start=question.range.start,
            end=question.range.end,
            limit=size + 1,
            after=_position(parameters.get("cursor")),
            **asked,
        )
        page = found[:size]
        address = None
        if len(found) > size:
            address = replace_query_param(request.build_absolute_uri(), "cursor", _cursor(page[-1]))
        return Response({"next": address, "results": [asdict(event) for event in page]})


def _asked(parameters: Mapping[str, str]) -> dict[str, Any]:
    severity = parameters.get("severity") or SEVERITIES[0]
    if severity not in SEVERITIES:
        raise InvalidInput({"severity": f"“{severity}” is none of {', '.join(SEVERITIES)}."})
    types = [text.strip() for text in parameters.get("type", "").split(",") if text.strip()]
    if any("\0" in text for text in types):
        raise InvalidInput({"type": "A type has no such character."})
    return {"types": types or None, "severity": severity}


def _page_size(parameters: Mapping[str, str]) -> int:
    text = parameters.get("page_size") or str(PAGE_SIZE)
    if not text.isdecimal() or not 1 <= int(text[:9]) <= LARGEST_PAGE:
        raise InvalidInput({"page_size": f"A number from 1 to {LARGEST_PAGE}."})
    return int(text)


def _all_rows(question: Question, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every event of the range, page by page, so that memory holds one page."""
    after = None
    while True:
        page = events(
            question.selection,
            start=question.range.start,
            end=question.range.end,
            limit=LARGEST_PAGE,
            after=after,
            **asked,
        )
        yield from ({**asdict(event), "time": event.time.isoformat()} for event in page)
        if len(page) < LARGEST_PAGE:
            return
        after = (page[-1].time, page[-1].id)


def _cursor(event: Event) -> str:
    return base64.urlsafe_b64encode(f"{event.time.isoformat()} {event.id}".encode()).decode()


def _position(cursor: str | None) -> tuple[datetime, UUID] | None:
    if not cursor:
        return None
    try:
        time, identity = base64.urlsafe_b64decode(cursor.encode()).decode().split(" ")
        return datetime.fromisoformat(time), UUID(identity)
    except (ValueError, binascii.Error):
        raise InvalidInput({"cursor": "Not a cursor of this list."}) from None
