"""REST: budgets and waivers."""

import math
from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.api.fields import KnownChoice, LabelField, StrictSerializer
from fleet.api.resources import ReasonSerializer, Resource
from fleet.models import Budget, HardwareTarget, Release, Waiver, Workload
from fleet.models.budgets import MARGIN_METRICS, QUALIFICATION, SHARES, Limit
from fleet.models.people import Role
from fleet.openapi import READ, WRITE
from fleet.selectors.budgets import current_budgets
from fleet.services import budgets, waivers
from fleet.tables import CSVList


class NumberField(serializers.FloatField):
    """A finite number; true and false are none."""

    def to_internal_value(self, data: Any) -> float:
        """The number."""
        if isinstance(data, bool):
            self.fail("invalid")
        value = super().to_internal_value(data)
        if not math.isfinite(value):
            self.fail("invalid")
        return value


def limit_fields() -> dict[str, NumberField]:
    """One optional field per limit; shares lie in [0, 1], everything else is not negative."""
    return {
        limit.value: NumberField(
            required=False, min_value=0.0, max_value=1.0 if limit.value in SHARES else None, help_text=limit.label
        )
        for limit in Limit
    }


LimitsSerializer = type(
    "LimitsSerializer",
    (StrictSerializer,),
    {**limit_fields(), "__doc__": "Upper limits by name.", "__module__": __name__},
)
MarginsSerializer = type(
    "MarginsSerializer",
    (StrictSerializer,),
    {
        **{name: NumberField(required=False, min_value=0.0) for name in MARGIN_METRICS},
        "__doc__": "The largest tolerated effect by metric, on the metric's own scale (0.05 = 5 % for ratios).",
        "__module__": __name__,
    },
)


class BudgetSerializer(serializers.ModelSerializer):
    """One version of a budget."""

    workload = LabelField(Workload)
    hardware_target = LabelField(HardwareTarget)
    hard_limits = LimitsSerializer()
    soft_limits = LimitsSerializer(required=False)
    margins = MarginsSerializer(required=False)
    rollback_criteria = serializers.CharField(required=False, allow_blank=True, max_length=10_000)
    escalation_path = serializers.ListField(child=KnownChoice(choices=Role.choices), required=False)
    created_by = serializers.SlugRelatedField(slug_field="username", read_only=True)
    based_on = serializers.IntegerField(
        write_only=True,
        required=False,
        min_value=0,
        help_text="The version that the writer saw; another one gives 409.",
    )
    reason = serializers.CharField(write_only=True, required=False, allow_blank=True, max_length=2000)

    class Meta:
        model = Budget
        fields = [
            "id",
            "workload",
            "hardware_target",
            "version",
            "hard_limits",
            "soft_limits",
            "margins",
            "rollback_criteria",
            "escalation_path",
            "created_by",
            "created_at",
            "based_on",
            "reason",
        ]
        read_only_fields = ["id", "version", "created_at"]
        validators: list[object] = []

    def to_representation(self, budget: Budget) -> dict[str, Any]:
        """The fields, with limits and margins as they were written."""
        stored = ("hard_limits", "soft_limits", "margins")
        row = {
            name: getattr(budget, name)
            if name in stored
            else field.to_representation(value)
            if (value := field.get_attribute(budget)) is not None
            else None
            for name, field in self.fields.items()
            if not field.write_only
        }
        return row


class BudgetFilter(django_filters.FilterSet):
    """What budgets can be filtered by."""

    workload = django_filters.CharFilter(field_name="workload__slug")
    hardware_target = django_filters.CharFilter(field_name="hardware_target__slug")
    version = django_filters.NumberFilter()

    class Meta:
        model = Budget
        fields: list[str] = []


@extend_schema_view(
    list=extend_schema(
        responses={200: BudgetSerializer(many=True), **READ},
        parameters=[OpenApiParameter("versions", str, enum=["current", "all"], description="Default: current.")],
    ),
    retrieve=extend_schema(responses={200: BudgetSerializer, **READ}),
)
class BudgetViewSet(CSVList, Resource):
    """What a release may cost, per workload and hardware target; every change is a new version."""

    scope = "releases"
    queryset = Budget.objects.select_related("workload", "hardware_target", "created_by")
    serializer_class = BudgetSerializer
    filterset_class = BudgetFilter
    csv_columns = tuple(name for name in BudgetSerializer.Meta.fields if name not in ("based_on", "reason"))

    def get_queryset(self) -> QuerySet[Budget]:
        """Current versions in the list, unless all or a certain version are asked for; every version by its id."""
        asked = self.request.query_params if self.request else {}
        everything = asked.get("versions") == "all" or "version" in asked
        return super().get_queryset() if self.action != "list" or everything else current_budgets()

    @extend_schema(request=BudgetSerializer, responses={201: BudgetSerializer, **WRITE})
    def create(self, request: Request) -> Response:
        """Write the budget of a workload on a hardware target: the first one, or the next version."""
        budget = budgets.write_budget(
            **self.valid(BudgetSerializer), actor=self.actor, now=self.now, created_by=request.user
        )
        return Response(self.get_serializer(budget).data, status=201)

    @extend_schema(request=BudgetSerializer, responses={201: BudgetSerializer, **WRITE})
    def partial_update(self, request: Request, reference: str) -> Response:
        """Write the next version from this one: what is not named stays; 409 where this is not the current one."""
        seen = self.get_object()
        fields = self.valid(BudgetSerializer, instance=seen, partial=True)
        for name in ("workload", "hardware_target"):
            if fields.pop(name, getattr(seen, name)) != getattr(seen, name):
                raise serializers.ValidationError({name: "This stays: write a budget of its own for another one."})
        kept = {name: getattr(seen, name) for name in budgets.CONTENT}
        content = kept | {"based_on": seen.version} | fields
        budget = budgets.write_budget(
            workload=seen.workload,
            hardware_target=seen.hardware_target,
            actor=self.actor,
            now=self.now,
            created_by=request.user,
            **content,
        )
        return Response(self.get_serializer(budget).data, status=201)


class WaiverSerializer(serializers.ModelSerializer):
    """A waiver."""

    release = serializers.PrimaryKeyRelatedField(queryset=Release.objects.all())
    release_label = serializers.CharField(source="release.__str__", read_only=True)
    hardware_target = LabelField(HardwareTarget)
    limit = KnownChoice(choices=[*Limit.choices, (QUALIFICATION, "Device-CI gate")])
    reason = serializers.CharField(max_length=10_000)
    requested_by = serializers.SlugRelatedField(slug_field="username", read_only=True)
    approver = serializers.SlugRelatedField(slug_field="username", read_only=True)
    status = serializers.SerializerMethodField()
    allowed_actions = serializers.SerializerMethodField()

    class Meta:
        model = Waiver
        fields = [
            "id",
            "release",
            "release_label",
            "hardware_target",
            "limit",
            "reason",
            "status",
            "requested_by",
            "approver",
            "approver_role",
            "approval_remark",
            "approved_at",
            "created_at",
            "expires_at",
            "revoked_at",
            "allowed_actions",
        ]
        read_only_fields = ["id", "approver_role", "approval_remark", "approved_at", "created_at", "revoked_at"]

    def get_status(self, waiver: Waiver) -> str:
        """requested, approved, expired or revoked."""
        return waiver.status(self.context["view"].now)

    def get_allowed_actions(self, waiver: Waiver) -> list[str]:
        """What may be done with the waiver now."""
        return waivers.allowed_actions(waiver, self.context["view"].now)


class WaiverFilter(django_filters.FilterSet):
    """What waivers can be filtered by."""

    workload = django_filters.CharFilter(field_name="release__workload__slug")
    hardware_target = django_filters.CharFilter(field_name="hardware_target__slug")
    release = django_filters.NumberFilter(field_name="release_id")

    class Meta:
        model = Waiver
        fields = ["limit"]


class RemarkSerializer(serializers.Serializer):
    """An approval with its remark."""

    remark = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


@extend_schema_view(
    list=extend_schema(responses={200: WaiverSerializer(many=True), **READ}),
    retrieve=extend_schema(responses={200: WaiverSerializer, **READ}),
)
class WaiverViewSet(CSVList, Resource):
    """Leave to exceed one limit for a while; the requester cannot approve."""

    scope = "releases"
    # Who approves is decided by the escalation path of the budget, which may name any role.
    action_scopes = {"approve": "board:sign"}
    queryset = Waiver.objects.select_related("release__workload", "hardware_target", "requested_by", "approver")
    serializer_class = WaiverSerializer
    filterset_class = WaiverFilter
    csv_columns = tuple(name for name in WaiverSerializer.Meta.fields if name != "allowed_actions")

    @extend_schema(request=WaiverSerializer, responses={201: WaiverSerializer, **WRITE})
    def create(self, request: Request) -> Response:
        """Ask for a waiver."""
        fields = self.valid(WaiverSerializer)
        waiver = waivers.request_waiver(actor=self.actor, now=self.now, requested_by=request.user, **fields)
        return Response(self.get_serializer(waiver).data, status=201)

    @extend_schema(request=RemarkSerializer, responses={200: WaiverSerializer, **WRITE})
    def approve(self, request: Request, reference: str) -> Response:
        """Approve a waiver that someone else asked for, in a role of the escalation path."""
        remark = self.valid(RemarkSerializer)["remark"]
        waiver = waivers.approve_waiver(
            self.get_object(), approver=request.user, actor=self.actor, now=self.now, remark=remark
        )
        return Response(self.get_serializer(waiver).data)

    @extend_schema(request=ReasonSerializer, responses={200: WaiverSerializer, **WRITE})
    def revoke(self, request: Request, reference: str) -> Response:
        """Refuse a request, or end a waiver before its time."""
        waiver = waivers.revoke_waiver(self.get_object(), actor=self.actor, now=self.now, reason=self.reason())
        return Response(self.get_serializer(waiver).data)
