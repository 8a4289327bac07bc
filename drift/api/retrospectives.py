"""REST: retrospectives, the rollout engine run over stored history."""

import re
from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_duration
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from drift.models import Retrospective
from drift.services import retrospectives as service

SHORT_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>s|min|m|h|d|w)")
SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


@extend_schema_field({"type": "string", "example": "1h"})
class DurationField(serializers.Field):
    """A positive duration: `30m`, `1h`, `1d`, seconds as a number, or ISO 8601."""

    def to_internal_value(self, data: Any) -> timedelta:
        """The duration, or an error."""
        duration = None
        if isinstance(data, int | float) and not isinstance(data, bool):
            duration = timedelta(seconds=data)
        elif isinstance(data, str):
            short = SHORT_DURATION.fullmatch(data.strip())
            duration = (
                timedelta(seconds=float(short["number"]) * SECONDS[short["unit"]]) if short else parse_duration(data)
            )
        if duration is None or duration <= timedelta(0):
            raise serializers.ValidationError("Give a positive duration such as 30m, 1h or 1d.")
        return duration

    def to_representation(self, value: timedelta) -> float:
        """Seconds."""
        return value.total_seconds()


@extend_schema_field({"oneOf": [{"type": "integer"}, {"type": "string"}]})
class DeviceReferenceField(serializers.Field):
    """A device by numeric id or by serial."""

    def to_internal_value(self, data: Any) -> int | str:
        """The reference as given."""
        if isinstance(data, bool) or not isinstance(data, int | str):
            raise serializers.ValidationError("Give a device id or a serial.")
        return data

    def to_representation(self, value: int | str) -> int | str:
        """The reference as given."""
        return value


class AssignmentSerializer(serializers.Serializer):
    """How the treated devices were drawn."""

    seed = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=2**63 - 1)
    strata = serializers.JSONField(required=False, allow_null=True)
    rollout = serializers.IntegerField(required=False, allow_null=True)


class LooksSerializer(serializers.Serializer):
    """When to look."""

    every = DurationField()
    until = serializers.DateTimeField()


class PreSerializer(serializers.Serializer):
    """The period in which every device is its own control."""

    to = serializers.DateTimeField()

    def get_fields(self) -> dict[str, serializers.Field]:
        """`from` cannot be a Python attribute, so it is added by name."""
        return {"from": serializers.DateTimeField(), **super().get_fields()}


class RetrospectiveRequestSerializer(serializers.Serializer):
    """What to run."""

    workload = serializers.CharField()
    release = serializers.CharField()
    treated = serializers.ListField(child=DeviceReferenceField(), allow_empty=False, max_length=20_000)
    control = serializers.ListField(child=DeviceReferenceField(), allow_empty=False, max_length=20_000)
    assignment = AssignmentSerializer(required=False, allow_null=True)
    pre = PreSerializer(required=False, allow_null=True)
    started_at = serializers.DateTimeField()
    looks = LooksSerializer()
    budget = serializers.DictField(required=False, allow_null=True)
    minimum_hours = serializers.FloatField(required=False, min_value=0)
    alpha = serializers.FloatField(required=False, min_value=0.0001, max_value=0.5)
    permutations = serializers.IntegerField(required=False, min_value=100, max_value=100_000)


class RetrospectiveSerializer(serializers.ModelSerializer):
    """A kept run, without its result."""

    created_by = serializers.SlugRelatedField("username", read_only=True)

    class Meta:
        model = Retrospective
        fields = [
            "id", "status", "looks_total", "looks_done", "error", "code_version", "created_by", "created_at",
            "finished_at", "request",
        ]  # fmt: skip


class RetrospectiveViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Run a policy over stored history; runs are kept and can be read again."""

    # It reads history and decides nothing, so whoever may read verdicts may ask for one.
    required_scopes = {"GET": "drift:read", "POST": "drift:read"}
    queryset = Retrospective.objects.select_related("created_by")
    serializer_class = RetrospectiveSerializer
    cursor_ordering = ("-created_at", "-id")

    @extend_schema(request=RetrospectiveRequestSerializer)
    def create(self, request: Request) -> Response:
        """Run it and answer with every look."""
        body = RetrospectiveRequestSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        kept = service.execute(body.validated_data, user=request.user, now=timezone.now(), clock=timezone.now)
        return Response(_answer(kept))

    def retrieve(self, request: Request, pk: str) -> Response:
        """A kept run with its result."""
        return Response(_answer(self.get_object()))


def _answer(kept: Retrospective) -> dict[str, Any]:
    return {**RetrospectiveSerializer(kept).data, **(kept.result or {"looks": []})}
