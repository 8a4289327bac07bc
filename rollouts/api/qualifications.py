"""REST: device-CI results of a release, and the gate that they open."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fleet.actors import Actor
from fleet.api.fields import KnownChoice, LabelField, StrictSerializer
from fleet.api.resources import find
from fleet.exceptions import InvalidInput
from fleet.models import HardwareTarget, Release
from fleet.openapi import READ, WRITE
from fleet.selectors import target_by_slug
from rollouts.models import CalibrationResult, Qualification
from rollouts.selectors import gates
from rollouts.services import qualifying


class QualificationSerializer(StrictSerializer):
    """One hardware-in-the-loop run of a release on a board in a mode."""

    id = serializers.IntegerField(read_only=True)
    hardware_target = LabelField(HardwareTarget)
    mode = KnownChoice(choices=Qualification.Mode.choices, default=Qualification.Mode.NOMINAL)
    board = serializers.CharField(required=False, allow_blank=True, default="", max_length=64)
    accelerator_revision = serializers.CharField(required=False, allow_blank=True, default="", max_length=64)
    precision = serializers.CharField(required=False, allow_blank=True, default="", max_length=16)
    measurements = serializers.JSONField(default=dict)
    checks = serializers.DictField(child=serializers.BooleanField(), default=dict)
    unsupported_operators = serializers.ListField(child=serializers.CharField(max_length=128), default=list)
    source = serializers.DictField(required=False, default=dict)
    created_at = serializers.DateTimeField(read_only=True)


class CalibrationSerializer(StrictSerializer):
    """How a release does on one calibration set in one precision."""

    id = serializers.IntegerField(read_only=True)
    hardware_target = LabelField(HardwareTarget, required=False, allow_null=True, default=None)
    calibration_set = serializers.CharField(max_length=64)
    kind = KnownChoice(choices=CalibrationResult.Set.choices)
    precision = serializers.CharField(max_length=16)
    samples = serializers.IntegerField(min_value=1, max_value=2**31 - 1)
    accuracy = serializers.FloatField(min_value=0, max_value=1)
    measurements = serializers.DictField(child=serializers.FloatField(), required=False, default=dict)
    created_at = serializers.DateTimeField(read_only=True)


class ReleaseResults(APIView):
    """What hangs on a release: found by its id."""

    scope = "releases"

    def release(self) -> Release:
        """The release that the path names."""
        return find(Release.objects.select_related("workload"), self.kwargs["reference"])

    def validated(self, serializer: type[serializers.Serializer], data: Any) -> list[dict[str, Any]]:
        """One object or a list of them, validated; errors carry the index."""
        many = isinstance(data, list)
        if many and not data:
            raise InvalidInput({"": "The list is empty."})
        given = serializer(data=data, many=many)
        given.is_valid(raise_exception=True)
        return given.validated_data if many else [given.validated_data]


class QualificationsView(ReleaseResults):
    """Device-CI results of a release."""

    def _rows(self) -> QuerySet[Qualification]:
        rows = self.release().qualifications.select_related("hardware_target").order_by("-created_at", "-id")
        for name in ("hardware_target", "mode", "board"):
            if value := self.request.query_params.get(name):
                rows = rows.filter(**{"hardware_target__slug" if name == "hardware_target" else name: value})
        return rows

    @extend_schema(
        responses={200: QualificationSerializer(many=True), **READ},
        parameters=[OpenApiParameter(name, str) for name in ("hardware_target", "mode", "board")],
    )
    def get(self, request: Request, reference: str) -> Response:
        """Every run, newest first; the newest of a board and mode counts."""
        return Response({"results": QualificationSerializer(self._rows()[:1000], many=True).data})

    @extend_schema(request=QualificationSerializer(many=True), responses={201: OpenApiTypes.OBJECT, **WRITE})
    def post(self, request: Request, reference: str) -> Response:
        """Keep one run, or a list of them; the answer carries the gate as it then stands."""
        release, now = self.release(), timezone.now()
        rows = self.validated(QualificationSerializer, request.data)
        kept = []
        with transaction.atomic():
            for index, fields in enumerate(rows):
                try:
                    kept.append(
                        qualifying.record_qualification(
                            release=release, by=request.user, actor=Actor.of_request(request), now=now, **fields
                        )
                    )
                except InvalidInput as error:
                    if not isinstance(request.data, list):
                        raise
                    errors = {f"[{index}].{field}": text for field, text in error.errors.items()}
                    raise InvalidInput(errors, code=error.code) from error
        listed = QualificationSerializer(kept, many=True).data
        if not isinstance(request.data, list):
            return Response({**listed[0], "gate": gates.gate(release, now)}, status=201)
        return Response({"results": listed, "gate": gates.gate(release, now)}, status=201)


class GateView(ReleaseResults):
    """Pass or fail with reasons, in one call."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT, **READ}, parameters=[OpenApiParameter("hardware_target", str)])
    def get(self, request: Request, reference: str) -> Response:
        """Against budget, last release and anchor release; `verdict` is pass, fail or missing."""
        target = request.query_params.get("hardware_target", "")
        targets = [target_by_slug(target)] if target else None
        return Response(gates.gate(self.release(), timezone.now(), targets))


class CalibrationView(ReleaseResults):
    """Calibration results per set and precision."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT, **READ})
    def get(self, request: Request, reference: str) -> Response:
        """Precisions side by side, and what quantization changed."""
        return Response({"results": gates.calibration(self.release())})

    @extend_schema(request=CalibrationSerializer(many=True), responses={201: OpenApiTypes.OBJECT, **WRITE})
    def post(self, request: Request, reference: str) -> Response:
        """Keep one result, or a list of them."""
        release, now = self.release(), timezone.now()
        rows = self.validated(CalibrationSerializer, request.data)
        with transaction.atomic():
            kept = [
                qualifying.record_calibration(
                    release=release, by=request.user, actor=Actor.of_request(request), now=now, **fields
                )
                for fields in rows
            ]
        listed = CalibrationSerializer(kept, many=True).data
        return Response({"results": listed} if isinstance(request.data, list) else listed[0], status=201)
