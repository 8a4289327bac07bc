"""REST: directives, by which operators steer how much devices send."""

from typing import Any

from django.db.models import Q
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fleet.actors import Actor
from fleet.api.fields import DeviceField, LabelField, StrictSerializer
from fleet.models import DeviceGroup
from fleet.openapi import READ, WRITE
from telemetry.models import Directive
from telemetry.services.directives import OPERATOR, set_directive


class DirectiveSerializer(StrictSerializer):
    """What a device, a group or (neither named) all devices are asked to do."""

    device = DeviceField(required=False, allow_null=True, default=None)
    group = LabelField(DeviceGroup, required=False, allow_null=True, default=None)
    values = serializers.DictField(
        help_text="raw_sample_rate (0 to 1), window_s, min_interval_s, max_batch; empty withdraws the directive"
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    reason = serializers.CharField(required=False, allow_blank=True, default="", write_only=True)
    source = serializers.CharField(read_only=True, help_text="operator, or the rollout that raised it")
    created_at = serializers.DateTimeField(read_only=True)


class DirectivesView(APIView):
    """The directives that hold, and the operators' own."""

    scope = "telemetry"

    @extend_schema(summary="Directives that hold now", responses={200: DirectiveSerializer(many=True), **READ})
    def get(self, request: Request) -> Response:
        """All of them, newest first."""
        holding = Directive.objects.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
        rows = holding.select_related("device", "group").order_by("-created_at", "-id")
        return Response(DirectiveSerializer(rows, many=True).data)

    @extend_schema(
        summary="Set or withdraw what operators ask of a device, a group or all devices",
        request=DirectiveSerializer,
        responses={200: DirectiveSerializer, **WRITE},
    )
    def put(self, request: Request) -> Response:
        """Replace the operators' directive for the scope; devices are told with their next batches."""
        serializer = DirectiveSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        wanted: dict[str, Any] = serializer.validated_data
        directive = set_directive(
            wanted["values"],
            actor=Actor.of_request(request),
            now=timezone.now(),
            device=wanted["device"],
            group=wanted["group"],
            source=OPERATOR,
            expires_at=wanted["expires_at"],
            reason=wanted["reason"],
        )
        shown = directive or Directive(
            device=wanted["device"], group=wanted["group"], values={}, source=OPERATOR, created_at=timezone.now()
        )
        return Response(DirectiveSerializer(shown).data)
