"""REST: playbooks and their editions."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from drift.models import Playbook, PlaybookVersion
from drift.services import playbooks as service


class PlaybookVersionSerializer(serializers.ModelSerializer):
    """One edition; posting one makes the next version."""

    edited_by = serializers.SlugRelatedField("username", read_only=True)

    class Meta:
        model = PlaybookVersion
        fields = ["version", "causes", "checks", "actions", "edited_by", "created_at"]
        read_only_fields = ["version", "created_at"]


class PlaybookSerializer(serializers.ModelSerializer):
    """A playbook with all its editions, newest first."""

    versions = PlaybookVersionSerializer(many=True, read_only=True)

    class Meta:
        model = Playbook
        fields = ["alarm_kind", "title", "versions"]


class PlaybookViewSet(viewsets.ReadOnlyModelViewSet):
    """Playbooks by kind of alarm; PUT writes the next edition."""

    scope = "drift"
    queryset = Playbook.objects.prefetch_related("versions__edited_by")
    serializer_class = PlaybookSerializer
    lookup_field = "alarm_kind"
    cursor_ordering = ("alarm_kind",)

    @extend_schema(request=PlaybookVersionSerializer, responses=PlaybookVersionSerializer)
    def update(self, request: Request, alarm_kind: str) -> Response:
        """Write the next edition."""
        body = PlaybookVersionSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        edition = service.edit(self.get_object(), user=request.user, now=timezone.now(), **body.validated_data)
        return Response(PlaybookVersionSerializer(edition).data)
