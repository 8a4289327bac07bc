"""REST: evaluations of the fleet and their findings."""

import django_filters
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from drift.models import Evaluation, Finding
from drift.services import runs
from drift.tasks import fan_out
from fleet.tables import CSVList


class EvaluationSerializer(serializers.ModelSerializer):
    """One run, with all that is needed to run it again."""

    cells = serializers.SerializerMethodField()

    class Meta:
        model = Evaluation
        fields = [
            "id", "kind", "status", "as_of", "parameters", "code_version", "started_at", "finished_at", "error",
            "cells",
        ]  # fmt: skip

    def get_cells(self, evaluation: Evaluation) -> dict[str, int]:
        """How many cells there are in each status: progress while it runs, and failures after."""
        counts: dict[str, int] = {}
        for status in evaluation.cells.values_list("status", flat=True):
            counts[status] = counts.get(status, 0) + 1
        return counts


class OrderSerializer(serializers.Serializer):
    """Which evaluation to compute now."""

    kind = serializers.ChoiceField(Evaluation.Kind.choices)


class EvaluationViewSet(viewsets.ReadOnlyModelViewSet):
    """Runs of the drift board, of slow drift and of creep, newest first."""

    scope = "drift"
    queryset = Evaluation.objects.prefetch_related("cells")
    serializer_class = EvaluationSerializer
    filterset_fields = ["kind", "status"]
    cursor_ordering = ("-as_of", "-id")

    @extend_schema(request=OrderSerializer, responses={202: EvaluationSerializer})
    def create(self, request: Request) -> Response:
        """Compute one now, by the task workers; answers with the one that is under way where there is one."""
        body = OrderSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        kind, now = body.validated_data["kind"], timezone.now()
        going = runs.under_way(kind, now=now)
        if going is None:
            going = runs.plan(kind, now=now)
            fan_out.delay(going.pk)
        return Response(EvaluationSerializer(going).data, status=202)


class FindingSerializer(serializers.ModelSerializer):
    """What a run says of one metric of one release on one hardware target."""

    workload = serializers.SlugRelatedField("slug", read_only=True)
    release = serializers.SlugRelatedField("version", read_only=True)
    baseline_release = serializers.SlugRelatedField("version", read_only=True)
    hardware_target = serializers.SlugRelatedField("slug", read_only=True)
    margin = serializers.FloatField(
        source="detail.margin",
        default=None,
        allow_null=True,
        read_only=True,
        help_text="The change that is tolerated, in effect units; null where none was kept.",
    )
    margin_budget = serializers.IntegerField(
        source="detail.margin_budget",
        default=None,
        allow_null=True,
        read_only=True,
        help_text="Version of the budget that the margin is from; null where it is the metric's default.",
    )

    class Meta:
        model = Finding
        fields = [
            "id", "evaluation", "workload", "release", "baseline_release", "hardware_target", "metric", "verdict",
            "effect", "lower", "upper", "standard_error", "p_value", "q_value", "n_treated", "n_control",
            "margin", "margin_budget", "completeness", "attribution", "reason",
        ]  # fmt: skip


class FindingDetailSerializer(FindingSerializer):
    """A finding with what its method found on its way: days and path, looks, or steps."""

    class Meta(FindingSerializer.Meta):
        fields = [*FindingSerializer.Meta.fields, "detail"]


class FindingFilter(django_filters.FilterSet):
    """`?evaluation=…&verdict=fail&hardware_target=…`."""

    workload = django_filters.CharFilter(field_name="workload__slug")
    release = django_filters.CharFilter(field_name="release__version")
    hardware_target = django_filters.CharFilter(field_name="hardware_target__slug")

    kind = django_filters.ChoiceFilter(field_name="evaluation__kind", choices=Evaluation.Kind.choices)

    class Meta:
        model = Finding
        fields = ["evaluation", "metric", "verdict"]


class FindingViewSet(CSVList, viewsets.ReadOnlyModelViewSet):
    """Findings of all runs, newest run first."""

    scope = "drift"
    queryset = Finding.objects.select_related("workload", "release", "baseline_release", "hardware_target")
    serializer_class = FindingSerializer
    filterset_class = FindingFilter
    cursor_ordering = ("-evaluation_id", "id")

    def get_serializer_class(self) -> type[FindingSerializer]:
        """One finding comes with its detail, a list without: a page of series would be megabytes."""
        return FindingDetailSerializer if self.action == "retrieve" else FindingSerializer
