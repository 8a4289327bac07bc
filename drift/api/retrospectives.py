"""REST: retrospectives, the rollout engine run over stored history."""

import re
from datetime import timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_duration
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from drift.models import Retrospective
from drift.services import retrospectives as service
from drift.tasks import run_retrospective

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
    wait = serializers.BooleanField(
        required=False,
        default=True,
        help_text="false answers 202 at once and leaves the run to a worker; so does `Prefer: respond-async`.",
    )


class HistoryRequestSerializer(RetrospectiveRequestSerializer):
    """History against itself: one group of devices that ran one release throughout, drawn into arms again and again."""

    treated = None
    control = None
    devices = serializers.ListField(child=DeviceReferenceField(), allow_empty=False, max_length=20_000)
    draws = serializers.IntegerField(required=False, default=20, min_value=1, max_value=service.SEEDS_AT_MOST)
    treated_share = serializers.FloatField(required=False, default=0.5, min_value=0.01, max_value=0.99)


class RetrospectiveSerializer(serializers.ModelSerializer):
    """A kept run, without its result."""

    created_by = serializers.SlugRelatedField("username", read_only=True)

    class Meta:
        model = Retrospective
        fields = [
            "id", "kind", "status", "looks_total", "looks_done", "error", "code_version", "created_by", "created_at",
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
        """Run it and answer with every look; 202 where that is not wanted, or would take longer than a request may."""
        body = RetrospectiveRequestSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        return self._run(request, asked, Retrospective.Kind.RELEASE, len(asked["treated"]) + len(asked["control"]))

    @extend_schema(request=HistoryRequestSerializer, responses={202: RetrospectiveSerializer})
    @action(detail=False, methods=["post"])
    def history(self, request: Request) -> Response:
        """How often would the policy have cried wolf where nothing was changed? Draws of one fleet against itself."""
        body = HistoryRequestSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        return self._run(request, asked, Retrospective.Kind.HISTORY, len(asked["devices"]))

    def _run(self, request: Request, asked: dict[str, Any], kind: str, devices: int) -> Response:
        wait = asked.pop("wait") and "respond-async" not in request.headers.get("Prefer", "")
        kept = service.order(asked, user=request.user, now=timezone.now(), kind=kind)
        seconds = service.estimated_seconds(devices, kept.looks_total, asked.get("permutations", 10_000))
        if wait and seconds <= service.SYNCHRONOUS_SECONDS:
            service.compute(kept.pk, clock=timezone.now, asked=asked)
            kept.refresh_from_db()
            return Response(_answer(kept))
        run_retrospective.delay(kept.pk)
        reason = (
            f"About {seconds:.0f} s of work, more than the {service.SYNCHRONOUS_SECONDS:.0f} s that a request may take."
            if wait
            else "As asked for."
        )
        address = request.build_absolute_uri(reverse("drift:retrospective-detail", args=[kept.pk]))
        more = {"estimated_seconds": round(seconds, 1), "reason": reason, "url": address}
        return Response({**_answer(kept), **more}, status=202, headers={"Location": address, "Retry-After": "2"})

    def retrieve(self, request: Request, pk: str) -> Response:
        """A kept run with its result, or with how far it is."""
        return Response(_answer(self.get_object()))

    @extend_schema(request=None, responses=RetrospectiveSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Stop a run that waits or is being computed."""
        kept = service.cancel(self.get_object(), now=timezone.now())
        return Response(RetrospectiveSerializer(kept).data)


def _answer(kept: Retrospective) -> dict[str, Any]:
    return {**RetrospectiveSerializer(kept).data, **(kept.result or {"looks": []})}
