"""REST: alarms, their timeline, and what people do with them."""

import django_filters
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from drift.models import Alarm, AlarmEntry
from drift.services import alarms as service
from fleet.models import User


class AlarmEntrySerializer(serializers.ModelSerializer):
    """One line of an incident's timeline."""

    class Meta:
        model = AlarmEntry
        fields = ["at", "actor", "kind", "text"]


class AlarmSerializer(serializers.ModelSerializer):
    """An alarm as people and scripts read it."""

    workload = serializers.SlugRelatedField("slug", read_only=True)
    release = serializers.SlugRelatedField("version", read_only=True)
    hardware_target = serializers.SlugRelatedField("slug", read_only=True)
    device = serializers.SlugRelatedField("serial", read_only=True)
    assignee = serializers.SlugRelatedField("username", read_only=True)
    playbook = serializers.SerializerMethodField()

    class Meta:
        model = Alarm
        fields = [
            "id", "kind", "state", "severity", "summary", "workload", "release", "hardware_target", "device", "metric",
            "effect", "lower", "upper", "devices_affected", "started_at", "raised_at", "last_seen_at", "closed_at",
            "sightings", "evidence", "attribution", "assignee", "playbook",
        ]  # fmt: skip

    def get_playbook(self, alarm: Alarm) -> dict | None:
        """The edition of the playbook that the alarm was raised with."""
        edition = alarm.playbook
        if edition is None:
            return None
        return {
            "title": edition.playbook.title,
            "version": edition.version,
            "causes": edition.causes,
            "checks": edition.checks,
            "actions": edition.actions,
        }


class AlarmFilter(django_filters.FilterSet):
    """`?state=open&kind=energy_drift&workload=…&hardware_target=…&device=<serial>`."""

    workload = django_filters.CharFilter(field_name="workload__slug")
    release = django_filters.CharFilter(field_name="release__version")
    hardware_target = django_filters.CharFilter(field_name="hardware_target__slug")
    device = django_filters.CharFilter(field_name="device__serial")

    class Meta:
        model = Alarm
        fields = ["state", "kind", "severity"]


class NoteSerializer(serializers.Serializer):
    """A remark that may be empty."""

    note = serializers.CharField(required=False, allow_blank=True, default="")


class TextSerializer(serializers.Serializer):
    """A line for the timeline."""

    text = serializers.CharField()


class ReasonSerializer(serializers.Serializer):
    """Why a person acts."""

    reason = serializers.CharField()


class AssignSerializer(serializers.Serializer):
    """Who is to look after the alarm; null for nobody."""

    assignee = serializers.SlugRelatedField("username", queryset=User.objects.filter(is_active=True), allow_null=True)


class AlarmViewSet(viewsets.ReadOnlyModelViewSet):
    """Alarms: list, read, acknowledge, assign, note, close."""

    scope = "drift"
    queryset = Alarm.objects.select_related(
        "workload", "release", "hardware_target", "device", "assignee", "playbook__playbook"
    )
    serializer_class = AlarmSerializer
    filterset_class = AlarmFilter
    cursor_ordering = ("-raised_at", "-id")

    @extend_schema(request=NoteSerializer)
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, pk: str) -> Response:
        """Somebody looks after it."""
        body = _valid(NoteSerializer, request)
        return self._answer(
            service.acknowledge(self.get_object(), user=request.user, note=body["note"], now=timezone.now())
        )

    @extend_schema(request=AssignSerializer)
    @action(detail=True, methods=["post"])
    def assign(self, request: Request, pk: str) -> Response:
        """Give it to a person."""
        body = _valid(AssignSerializer, request)
        return self._answer(
            service.assign(self.get_object(), assignee=body["assignee"], user=request.user, now=timezone.now())
        )

    @extend_schema(request=ReasonSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """Close it, with a reason."""
        body = _valid(ReasonSerializer, request)
        return self._answer(
            service.close(self.get_object(), user=request.user, reason=body["reason"], now=timezone.now())
        )

    @extend_schema(request=TextSerializer, responses=AlarmEntrySerializer)
    @action(detail=True, methods=["post"])
    def note(self, request: Request, pk: str) -> Response:
        """Write a line on the timeline."""
        body = _valid(TextSerializer, request)
        entry = service.note(self.get_object(), user=request.user, text=body["text"], now=timezone.now())
        return Response(AlarmEntrySerializer(entry).data)

    @extend_schema(responses=AlarmEntrySerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None, filterset_class=None)
    def timeline(self, request: Request, pk: str) -> Response:
        """The incident line by line, oldest first."""
        return Response(AlarmEntrySerializer(self.get_object().entries.all(), many=True).data)

    def _answer(self, alarm: Alarm) -> Response:
        return Response(AlarmSerializer(alarm).data)


def _valid(serializer: type[serializers.Serializer], request: Request) -> dict:
    """The request's body, valid, or 422 with one entry per field."""
    body = serializer(data=request.data)
    body.is_valid(raise_exception=True)
    return body.validated_data
