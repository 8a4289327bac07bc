"""REST: where alarms are sent."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from drift.models import Alarm, NotificationChannel
from drift.services import notifications as service
from fleet.actors import Actor


class ChannelSerializer(serializers.ModelSerializer):
    """A channel; its secret is never shown."""

    class Meta:
        model = NotificationChannel
        fields = ["id", "name", "kind", "target", "minimum_severity", "enabled", "created_at"]


class NewChannelSerializer(serializers.Serializer):
    """A channel to register; a webhook needs a secret of at least 16 characters."""

    name = serializers.CharField(max_length=64)
    kind = serializers.ChoiceField(NotificationChannel.Kind.choices)
    target = serializers.CharField(max_length=500)
    secret = serializers.CharField(max_length=128, required=False, default="", allow_blank=True)
    minimum_severity = serializers.ChoiceField(Alarm.Severity.choices, default=Alarm.Severity.WARNING)


class ChannelViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Channels: list, register, remove."""

    required_scopes = {"GET": "drift:read", "POST": "admin", "DELETE": "admin"}
    queryset = NotificationChannel.objects.all()
    serializer_class = ChannelSerializer
    cursor_ordering = ("name",)

    @extend_schema(request=NewChannelSerializer, responses={201: ChannelSerializer})
    def create(self, request: Request) -> Response:
        """Register a channel."""
        body = NewChannelSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        channel = service.create_channel(actor=Actor.of_request(request), now=timezone.now(), **body.validated_data)
        return Response(ChannelSerializer(channel).data, status=201)

    def destroy(self, request: Request, pk: str) -> Response:
        """Remove a channel."""
        service.remove_channel(self.get_object(), actor=Actor.of_request(request), now=timezone.now())
        return Response(status=204)
