"""REST: the status of the system, for scripts."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fleet.openapi import FORBIDDEN, UNAUTHENTICATED
from fleet.status import BAD, GOOD, WARN
from telemetry.selectors.status import report

STATES = [(GOOD, "Good"), (WARN, "Warning"), (BAD, "Bad")]


class StatusLineSerializer(serializers.Serializer):
    """One thing that can be well or not."""

    name = serializers.CharField()
    state = serializers.ChoiceField(choices=STATES)
    value = serializers.CharField()
    note = serializers.CharField(allow_blank=True)
    remedy = serializers.CharField(allow_blank=True)


class StatusTableSerializer(serializers.Serializer):
    """Numbers that explain a section."""

    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.ListField(child=serializers.ListField(child=serializers.CharField()))


class StatusSectionSerializer(serializers.Serializer):
    """A part of the system; its state is the worst of its lines."""

    name = serializers.CharField()
    title = serializers.CharField()
    state = serializers.ChoiceField(choices=STATES)
    lines = StatusLineSerializer(many=True)
    table = StatusTableSerializer(allow_null=True)


class SystemStatusSerializer(serializers.Serializer):
    """Everything; the state is the worst of all lines."""

    state = serializers.ChoiceField(choices=STATES)
    at = serializers.DateTimeField()
    sections = StatusSectionSerializer(many=True)


class StatusView(APIView):
    """Is it healthy?"""

    required_scopes = {"GET": "telemetry:read"}

    @extend_schema(responses={200: SystemStatusSerializer, **UNAUTHENTICATED, **FORBIDDEN})
    def get(self, request: Request) -> Response:
        """The same lines as the status page; 200 whatever the state, which scripts read from `state`."""
        now = timezone.now()
        found = report(now)
        return Response(
            {"state": found.state, "at": now, "sections": [section.to_dict() for section in found.sections]}
        )
