"""The shapes of rollouts on the wire."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from fleet.api.fields import LabelField, StrictSerializer
from fleet.models import Workload
from rollouts import machine
from rollouts.models import Approval, Delivery, Evidence, LaneTransition, Look, Rollout, Stage
from rollouts.plans import STAGE_FIELDS


@extend_schema_field(OpenApiTypes.OBJECT)
class AnyField(serializers.JSONField):
    """A part of the plan that `rollouts.plans` checks, with one error per field."""


class RolloutInput(StrictSerializer):
    """A new rollout: stages, or a preset (the standard one where neither is given)."""

    workload = LabelField(Workload)
    release = serializers.JSONField(help_text="Version of the release, or its id as a number.")
    change_record = AnyField(required=False)
    preset = serializers.CharField(required=False, default="", allow_blank=True)
    stages = AnyField(required=False, default=None)
    policy = AnyField(required=False, default=None)
    selector = AnyField(required=False, default=None)
    region = serializers.CharField(required=False, default="", allow_blank=True, help_text="For presets.")
    seed = serializers.IntegerField(required=False, default=None, allow_null=True)


class RolloutChange(StrictSerializer):
    """Parts of a draft."""

    change_record = AnyField(required=False)
    stages = AnyField(required=False)
    policy = AnyField(required=False)
    selector = AnyField(required=False)


class ActionInput(serializers.Serializer):
    """A decision."""

    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=4000)
    hardware_target = serializers.CharField(required=False, allow_blank=True, default="")
    evidence_hash = serializers.JSONField(required=False, default="", help_text="SHA-256, or a list of them.")
    override = serializers.BooleanField(required=False, default=False, help_text="Promote a lane that is held.")

    def validate_evidence_hash(self, value: Any) -> Any:
        """A text or a list of texts."""
        listed = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) for item in listed):
            raise serializers.ValidationError("This must be a text or a list of texts.")
        return value


class ApprovalInput(serializers.Serializer):
    """A signature; `reason` may stand for `remark`."""

    role = serializers.CharField(required=False, allow_blank=True, default="")
    remark = serializers.CharField(required=False, allow_blank=True, default="", max_length=4000)
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=4000)
    evidence_hash = serializers.CharField(required=False, allow_blank=True, default="", max_length=64)


class StageSerializer(serializers.ModelSerializer):
    """A stage."""

    class Meta:
        model = Stage
        fields = ["order", *STAGE_FIELDS]


class LaneSummarySerializer(serializers.Serializer):
    """A lane in a list."""

    hardware_target = serializers.CharField(source="hardware_target.slug")
    state = serializers.CharField()
    state_since = serializers.DateTimeField()
    stage = serializers.CharField(source="stage.name", default=None)
    allowed_actions = serializers.SerializerMethodField()

    def get_allowed_actions(self, lane: Any) -> list[str]:
        """What a person may do with the lane."""
        return machine.allowed_actions(lane.state)


class RolloutSerializer(serializers.ModelSerializer):
    """A rollout; `status` is that of the lane which needs attention first."""

    workload = LabelField(Workload)
    release = serializers.SlugRelatedField(slug_field="version", read_only=True)
    release_id = serializers.IntegerField(read_only=True)
    created_by = serializers.SlugRelatedField(slug_field="username", read_only=True)
    status = serializers.SerializerMethodField()
    allowed_actions = serializers.SerializerMethodField()
    stages = StageSerializer(many=True)
    lanes = LaneSummarySerializer(many=True)

    class Meta:
        model = Rollout
        fields = [
            "id",
            "workload",
            "release",
            "release_id",
            "status",
            "allowed_actions",
            "change_record",
            "preset",
            "selector",
            "policy",
            "seed",
            "notes",
            "created_by",
            "created_at",
            "submitted_at",
            "started_at",
            "stages",
            "lanes",
        ]

    def get_status(self, rollout: Rollout) -> str:
        """Derived from the lanes."""
        return str(rollout.status)

    def get_allowed_actions(self, rollout: Rollout) -> list[str]:
        """What a person may do with at least one lane; a draft that matches no device can still be submitted to hear
        why."""
        lanes = rollout.lanes.all()
        if not lanes:
            return ["submit"]
        return sorted({action for lane in lanes for action in machine.allowed_actions(lane.state)})


class ApprovalSerializer(serializers.ModelSerializer):
    """A signature."""

    user = serializers.SlugRelatedField(slug_field="username", read_only=True)
    stage = serializers.SlugRelatedField(slug_field="name", read_only=True)
    hardware_target = serializers.CharField(source="lane.hardware_target.slug", default=None)
    evidence_hash = serializers.CharField(source="evidence.sha256")

    class Meta:
        model = Approval
        fields = [
            "id",
            "role",
            "user",
            "stage",
            "hardware_target",
            "remark",
            "evidence_hash",
            "signed_at",
            "expires_at",
        ]


class TransitionSerializer(serializers.ModelSerializer):
    """A move of a lane."""

    hardware_target = serializers.CharField(source="lane.hardware_target.slug")
    stage = serializers.SlugRelatedField(slug_field="name", read_only=True)

    class Meta:
        model = LaneTransition
        fields = ["id", "at", "hardware_target", "event", "old", "new", "stage", "actor", "reason", "evidence_hash"]


class LookSerializer(serializers.ModelSerializer):
    """A look with the verdict of each lane."""

    stage = serializers.CharField(source="run.stage.name")
    started_at = serializers.DateTimeField(source="run.started_at")

    class Meta:
        model = Look
        fields = [
            "run",
            "stage",
            "started_at",
            "number",
            "as_of",
            "verdict",
            "reason",
            "alpha",
            "alpha_spent",
            "critical_value",
            "completeness",
            "exposure",
            "lanes",
        ]


class EvidenceSerializer(serializers.ModelSerializer):
    """A frozen document without its body."""

    hardware_target = serializers.CharField(source="lane.hardware_target.slug", default=None)
    stage = serializers.SlugRelatedField(slug_field="name", read_only=True)
    recommendation = serializers.CharField(source="recommendation.kind", default=None)
    verdict = serializers.CharField(source="recommendation.verdict", default=None)
    reason = serializers.CharField(source="recommendation.reason", default="")
    status = serializers.CharField(source="recommendation.status", default=None)

    class Meta:
        model = Evidence
        fields = [
            "id",
            "kind",
            "sha256",
            "hardware_target",
            "stage",
            "recommendation",
            "verdict",
            "reason",
            "status",
            "code_version",
            "created_at",
        ]


class DeliverySerializer(serializers.ModelSerializer):
    """One attempt to bring a release to a device; `id` is the action id that the device sees."""

    device = serializers.SlugRelatedField(slug_field="serial", read_only=True)
    release = serializers.SlugRelatedField(slug_field="version", read_only=True)
    previous_release = serializers.SlugRelatedField(slug_field="version", read_only=True)
    hardware_target = serializers.CharField(source="device.hardware_target.slug")

    class Meta:
        model = Delivery
        fields = [
            "id",
            "device",
            "hardware_target",
            "kind",
            "release",
            "previous_release",
            "status",
            "attempt",
            "progress",
            "detail",
            "blocked_until",
            "created_at",
            "offered_at",
            "installed_at",
            "booted_at",
            "finished_at",
            "confirmed_inferences",
        ]
