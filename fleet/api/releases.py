"""REST: releases with their bill of materials."""

from typing import Any

import django_filters
from django.db import transaction
from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.api.artifacts import ArtifactSerializer
from fleet.api.fields import LabelField
from fleet.api.resources import ReasonSerializer, Resource, find
from fleet.exceptions import InvalidInput
from fleet.models import HardwareTarget, Release, Workload
from fleet.openapi import READ, WRITE
from fleet.selectors.releases import artifact_difference, difference
from fleet.services import artifacts, releases
from fleet.tables import CSVList


class ReleaseFilter(django_filters.FilterSet):
    """What releases can be filtered by."""

    workload = django_filters.CharFilter(method="of_workload")
    version = django_filters.CharFilter()
    status = django_filters.MultipleChoiceFilter(choices=Release.Status.choices)
    hardware_target = django_filters.CharFilter(method="for_target")

    class Meta:
        model = Release
        fields: list[str] = []

    def of_workload(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        """Releases of a workload, by slug or name."""
        return queryset.filter(Q(workload__slug=value) | Q(workload__name=value))

    def for_target(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        """Releases that support a hardware target, those for all of them included."""
        return queryset.filter(Q(hardware_targets__slug=value) | Q(hardware_targets__isnull=True)).distinct()


class ReleaseSerializer(serializers.ModelSerializer):
    """A release."""

    workload = LabelField(Workload)
    version = serializers.RegexField(r"^[^\s/?#]+$", max_length=64)
    bill_of_materials = serializers.DictField(
        child=serializers.CharField(max_length=128, allow_blank=True),
        required=False,
        help_text="model_version, model_hash, quantization, runtime_version, compiler_version, driver_version, "
        "firmware_version, calibration_dataset, and any further part by its name.",
    )
    hardware_targets = serializers.ListField(
        child=LabelField(HardwareTarget), required=False, help_text="Empty: every hardware target is supported."
    )
    metadata = serializers.DictField(required=False, help_text="Model-zoo metadata: precisions, expected_memory_mb, …")
    artifacts = ArtifactSerializer(many=True, required=False)
    notes = serializers.CharField(required=False, allow_blank=True, max_length=20_000)
    created_by = serializers.SlugRelatedField(slug_field="username", read_only=True)
    allowed_actions = serializers.SerializerMethodField()

    class Meta:
        model = Release
        fields = [
            "id",
            "workload",
            "version",
            "status",
            "bill_of_materials",
            "hardware_targets",
            "metadata",
            "notes",
            "artifacts",
            "created_by",
            "created_at",
            "published_at",
            "withdrawn_at",
            "allowed_actions",
        ]
        read_only_fields = ["id", "status", "created_at", "published_at", "withdrawn_at"]
        # The service says which version is taken: one that telemetry reported before is not.
        validators: list[object] = []

    def get_allowed_actions(self, release: Release) -> list[str]:
        """What may be done with the release now."""
        return releases.allowed_actions(release)

    def to_representation(self, release: Release) -> dict[str, Any]:
        """The fields, with artifacts and hardware targets from what was fetched with the release."""
        row = {
            name: field.to_representation(value) if (value := field.get_attribute(release)) is not None else None
            for name, field in self.fields.items()
            if name not in ("hardware_targets", "artifacts") and not field.write_only
        }
        row["hardware_targets"] = sorted(target.slug for target in release.hardware_targets.all())
        row["artifacts"] = self.fields["artifacts"].to_representation(release.artifacts.all())
        return {name: row[name] for name in self.Meta.fields}


class ReleaseChangeSerializer(ReleaseSerializer):
    """What may be changed of a draft."""

    class Meta(ReleaseSerializer.Meta):
        fields = ["bill_of_materials", "hardware_targets", "metadata", "notes"]
        read_only_fields: list[str] = []

    created_by = workload = version = artifacts = allowed_actions = None


class PartDifferenceSerializer(serializers.Serializer):
    """One part of both bills of materials; `from` is the other release, `to` this one."""

    part = serializers.CharField()
    to = serializers.CharField()
    changed = serializers.BooleanField()

    def get_fields(self) -> dict[str, serializers.Field]:
        """`from` is a word of the language, so it cannot be written as an attribute."""
        return super().get_fields() | {"from": serializers.CharField()}


class ArtifactDifferenceSerializer(PartDifferenceSerializer):
    """One file of either release by SHA-256; an empty text where a release has none of that name."""

    part = None
    filename = serializers.CharField()


class DifferenceSerializer(serializers.Serializer):
    """What differs between two releases."""

    release = serializers.CharField()
    against = serializers.CharField()
    changed = serializers.ListField(child=serializers.CharField(), help_text="The parts that differ.")
    bill_of_materials = PartDifferenceSerializer(many=True)
    artifacts = ArtifactDifferenceSerializer(many=True)


@extend_schema_view(
    list=extend_schema(responses={200: ReleaseSerializer(many=True), **READ}),
    retrieve=extend_schema(responses={200: ReleaseSerializer, **READ}),
)
class ReleaseViewSet(CSVList, Resource):
    """Immutable bills of materials: a draft may change, a published release is frozen."""

    scope = "releases"
    queryset = Release.objects.select_related("workload", "created_by").prefetch_related(
        "hardware_targets", "artifacts__hardware_target", "artifacts__signing_key"
    )
    serializer_class = ReleaseSerializer
    filterset_class = ReleaseFilter
    csv_columns = tuple(name for name in ReleaseSerializer.Meta.fields if name != "allowed_actions")

    @extend_schema(request=ReleaseSerializer, responses={201: ReleaseSerializer, **WRITE})
    def create(self, request: Request) -> Response:
        """Create a draft, with the descriptions of its artifacts where they are given."""
        fields = self.valid(ReleaseSerializer)
        described = fields.pop("artifacts", [])
        with transaction.atomic():
            release = releases.create_release(actor=self.actor, now=self.now, created_by=request.user, **fields)
            for index, item in enumerate(described):
                self._describe(release, index, artifacts.Description(**item))
        return Response(self.get_serializer(self._again(release)).data, status=201)

    def _describe(self, release: Release, index: int, description: artifacts.Description) -> None:
        try:
            artifacts.describe_artifact(release, description, actor=self.actor, now=self.now)
        except InvalidInput as exc:
            errors = {f"artifacts[{index}].{field}": text for field, text in exc.errors.items()}
            raise InvalidInput(errors, code=exc.code) from exc

    def _again(self, release: Release) -> Release:
        return self.get_queryset().get(pk=release.pk)

    @extend_schema(request=ReleaseChangeSerializer, responses={200: ReleaseSerializer, **WRITE})
    def partial_update(self, request: Request, reference: str) -> Response:
        """Change a draft; parts that are not named stay as they are."""
        release = self.get_object()
        fields = self.valid(ReleaseChangeSerializer, partial=True)
        releases.update_release(release, actor=self.actor, now=self.now, **fields)
        return Response(self.get_serializer(self._again(release)).data)

    @extend_schema(request=ReasonSerializer, responses={200: ReleaseSerializer, **WRITE})
    def publish(self, request: Request, reference: str) -> Response:
        """Freeze the release for good."""
        release = releases.publish(self.get_object(), actor=self.actor, now=self.now, reason=self.reason())
        return Response(self.get_serializer(self._again(release)).data)

    @extend_schema(request=ReasonSerializer, responses={200: ReleaseSerializer, **WRITE})
    def withdraw(self, request: Request, reference: str) -> Response:
        """Take a published release out of circulation."""
        release = releases.withdraw(self.get_object(), actor=self.actor, now=self.now, reason=self.reason())
        return Response(self.get_serializer(self._again(release)).data)

    @extend_schema(
        responses={200: DifferenceSerializer, **WRITE},
        parameters=[OpenApiParameter("against", str, required=True, description="The id of another release.")],
        filters=False,
    )
    def diff(self, request: Request, reference: str) -> Response:
        """The bills of materials and artifacts of two releases side by side."""
        release = self.get_object()
        other = request.query_params.get("against", "")
        if not other:
            raise InvalidInput({"against": "Name the release to compare with."}, code="required")
        against = find(self.get_queryset(), other)
        parts = difference(release, against)
        return Response(
            {
                "release": str(release),
                "against": str(against),
                "changed": [row["part"] for row in parts if row["changed"]],
                "bill_of_materials": parts,
                "artifacts": artifact_difference(release, against),
            }
        )
