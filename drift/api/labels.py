"""REST: ground-truth labels, the queue of inferences worth labelling, and accuracy per release."""

import django_filters
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from drift.models import Label, LabelRequest
from drift.models.labels import Sampling
from drift.selectors.accuracy import accuracy_by_release, signal_between
from drift.services import labels as service
from fleet.actors import Actor
from fleet.models import Workload
from fleet.tables import CSVList
from fleet.timerange import parse


class LabelSerializer(serializers.ModelSerializer):
    """A label as it is kept."""

    workload = serializers.SlugRelatedField("slug", read_only=True)
    release = serializers.SlugRelatedField("version", read_only=True)
    device = serializers.SlugRelatedField("serial", read_only=True)

    class Meta:
        model = Label
        fields = [
            "id", "workload", "release", "device", "time", "sample_ref", "predicted_class", "true_class", "confidence",
            "sampling", "inclusion_probability", "labelled_by", "created_at",
        ]  # fmt: skip


@extend_schema_serializer(component_name="NewLabel")
class NewLabelSerializer(serializers.Serializer):
    """A label from outside: what is left out is read from the stored inference."""

    workload = serializers.CharField()
    device = serializers.CharField(help_text="serial")
    time = serializers.DateTimeField()
    true_class = serializers.CharField(max_length=128)
    predicted_class = serializers.CharField(max_length=128, required=False)
    release = serializers.CharField(required=False)
    confidence = serializers.FloatField(required=False, allow_null=True, min_value=0, max_value=1)
    sample_ref = serializers.CharField(max_length=200, required=False, allow_blank=True)
    sampling = serializers.ChoiceField(Sampling.choices, required=False)
    inclusion_probability = serializers.FloatField(required=False, allow_null=True, min_value=0, max_value=1)

    def validate(self, attrs: dict) -> dict:
        """A weighted sample without its probability cannot be weighted."""
        if attrs.get("sampling") == Sampling.UNCERTAIN and not attrs.get("inclusion_probability"):
            raise serializers.ValidationError({"inclusion_probability": "Needed for uncertain samples."})
        return attrs


class LabelFilter(django_filters.FilterSet):
    """`?workload=…&release=…&sampling=random`."""

    workload = django_filters.CharFilter(field_name="workload__slug")
    release = django_filters.CharFilter(field_name="release__version")
    device = django_filters.CharFilter(field_name="device__serial")

    class Meta:
        model = Label
        fields = ["sampling", "true_class", "predicted_class"]


class LabelViewSet(CSVList, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Labels: one or a list in a POST, all or none; the list is also the export of the labelled set (`?format=csv`)."""

    scope = "drift"
    queryset = Label.objects.select_related("workload", "release", "device")
    serializer_class = LabelSerializer
    filterset_class = LabelFilter
    cursor_ordering = ("-created_at", "-id")

    @extend_schema(request=NewLabelSerializer(many=True), responses={201: LabelSerializer(many=True)})
    def create(self, request: Request) -> Response:
        """Keep labels."""
        many = isinstance(request.data, list)
        body = NewLabelSerializer(data=request.data, many=many)
        body.is_valid(raise_exception=True)
        rows = body.validated_data if many else [body.validated_data]
        made = service.record_labels(rows, actor=Actor.of_request(request), now=timezone.now())
        data = LabelSerializer(made, many=True).data
        return Response(data if many else data[0], status=201)


class LabelRequestSerializer(serializers.ModelSerializer):
    """An inference in the queue."""

    workload = serializers.SlugRelatedField("slug", read_only=True)
    release = serializers.SlugRelatedField("version", read_only=True)
    device = serializers.SlugRelatedField("serial", read_only=True)

    class Meta:
        model = LabelRequest
        fields = [
            "id", "workload", "release", "device", "time", "sample_ref", "predicted_class", "confidence", "sampling",
            "inclusion_probability", "status", "created_at",
        ]  # fmt: skip


class DrawSerializer(serializers.Serializer):
    """How many inferences to put into the queue, from which period; the seed makes the draw repeatable."""

    workload = serializers.SlugRelatedField("slug", queryset=Workload.objects.all())
    random = serializers.IntegerField(min_value=0, max_value=10_000, default=50)
    uncertain = serializers.IntegerField(min_value=0, max_value=10_000, default=50)
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, default=0)
    start = serializers.DateTimeField(required=False)
    end = serializers.DateTimeField(required=False)


class AnswerSerializer(serializers.Serializer):
    """The class that would have been right."""

    true_class = serializers.CharField(max_length=128)


class LabelRequestViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """The queue: draw, label, skip."""

    scope = "drift"
    queryset = LabelRequest.objects.select_related("workload", "release", "device")
    serializer_class = LabelRequestSerializer
    filterset_fields = ["status", "sampling", "workload__slug"]
    cursor_ordering = ("-created_at", "-id")

    @extend_schema(request=DrawSerializer)
    def create(self, request: Request) -> Response:
        """Draw inferences into the queue."""
        body = DrawSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        wish, now = body.validated_data, timezone.now()
        start, end = service.default_span(now)
        drawn = service.draw_requests(
            wish["workload"],
            random=wish["random"],
            uncertain=wish["uncertain"],
            seed=wish["seed"],
            start=wish.get("start", start),
            end=wish.get("end", end),
            now=now,
        )
        return Response({"drawn": len(drawn)}, status=201)

    @extend_schema(request=AnswerSerializer, responses=LabelSerializer)
    @action(detail=True, methods=["post"])
    def label(self, request: Request, pk: str) -> Response:
        """Label this inference."""
        body = AnswerSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        made = service.answer_request(
            self.get_object(),
            true_class=body.validated_data["true_class"],
            actor=Actor.of_request(request),
            now=timezone.now(),
        )
        return Response(LabelSerializer(made).data)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def skip(self, request: Request, pk: str) -> Response:
        """Leave it unlabelled."""
        request_row = self.get_object()
        service.skip_request(request_row)
        request_row.refresh_from_db()
        return Response(LabelRequestSerializer(request_row).data)


class AccuracyView(APIView):
    """Accuracy per release of a workload, with intervals, and whether it is time to train anew."""

    scope = "drift"

    @extend_schema(
        parameters=[
            OpenApiParameter("workload", str, required=True),
            OpenApiParameter("from", str, description="RFC 3339, or relative such as -30d"),
            OpenApiParameter("to", str),
        ],
        responses={200: dict},
    )
    def get(self, request: Request) -> Response:
        """Read it."""
        workload = get_object_or_404(Workload, slug=request.query_params.get("workload", ""))
        span = parse(request.query_params.get("from", "-30d"), request.query_params.get("to", ""), now=timezone.now())
        known = accuracy_by_release(workload, start=span.start, end=span.end)
        rows = [row.to_dict() for row in known]
        for newer, older, row in zip(known, known[1:], rows, strict=False):
            row["retraining"] = signal_between(older, newer)
        return Response({"workload": workload.slug, "releases": rows})
