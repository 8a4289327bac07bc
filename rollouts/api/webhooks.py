"""REST: who hears of rollouts by signed webhook."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.api.fields import StrictSerializer
from fleet.api.resources import Resource
from fleet.openapi import READ, WRITE
from rollouts.models import WebhookDelivery, WebhookEndpoint
from rollouts.services import rights, webhooks


class EndpointSerializer(serializers.ModelSerializer):
    """A receiver. Its secret is written and never read."""

    url = serializers.CharField(max_length=500)
    secret = serializers.CharField(write_only=True, max_length=128)
    events = serializers.ListField(child=serializers.CharField(max_length=48), required=False, default=list)

    class Meta:
        model = WebhookEndpoint
        fields = ["id", "name", "url", "secret", "events", "enabled", "created_at"]
        read_only_fields = ["id", "enabled", "created_at"]
        # The service says which name is taken.
        extra_kwargs = {"name": {"validators": []}}


class WebhookDeliverySerializer(serializers.ModelSerializer):
    """One message and what became of it."""

    class Meta:
        model = WebhookDelivery
        fields = [
            "id",
            "event",
            "payload",
            "status",
            "attempts",
            "next_attempt_at",
            "last_error",
            "created_at",
            "sent_at",
        ]


class PauseInput(StrictSerializer):
    """Whether a receiver hears of events."""

    enabled = serializers.BooleanField()
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=4000)


@extend_schema_view(
    list=extend_schema(responses={200: EndpointSerializer(many=True), **READ}),
    retrieve=extend_schema(responses={200: EndpointSerializer, **READ}),
)
class WebhookViewSet(Resource):
    """Receivers of signed messages about rollouts."""

    scope = "rollouts"
    queryset = WebhookEndpoint.objects.all()
    serializer_class = EndpointSerializer
    named_by = ("name",)

    @extend_schema(request=PauseInput, responses={200: EndpointSerializer, **WRITE})
    def partial_update(self, request: Request, reference: str) -> Response:
        """Pause a receiver, or let it go on."""
        rights.assert_manager(request.user)
        endpoint, fields = self.get_object(), self.valid(PauseInput)
        webhooks.set_enabled(endpoint, fields["enabled"], actor=self.actor, now=self.now, reason=fields["reason"])
        return Response(EndpointSerializer(endpoint).data)

    @extend_schema(request=None, responses={200: WebhookDeliverySerializer, **WRITE})
    def ping(self, request: Request, reference: str) -> Response:
        """Send a test message at once; the answer says what became of it."""
        rights.assert_manager(request.user)
        message = webhooks.ping(self.get_object(), by=request.user.username, now=self.now)
        return Response(WebhookDeliverySerializer(message).data)

    @extend_schema(request=EndpointSerializer, responses={201: EndpointSerializer, **WRITE})
    def create(self, request: Request) -> Response:
        """Register a receiver."""
        rights.assert_manager(request.user)
        fields = self.valid(EndpointSerializer)
        endpoint = webhooks.create_endpoint(actor=self.actor, now=self.now, **fields)
        return Response(EndpointSerializer(endpoint).data, status=201)

    @extend_schema(responses={204: None, **WRITE})
    def destroy(self, request: Request, reference: str) -> Response:
        """Forget a receiver."""
        rights.assert_manager(request.user)
        webhooks.remove_endpoint(self.get_object(), actor=self.actor, now=self.now)
        return Response(status=204)

    @extend_schema(responses={200: OpenApiTypes.OBJECT, **READ}, filters=False)
    def deliveries(self, request: Request, reference: str) -> Response:
        """Messages, newest first, with what became of them."""
        page = self.paginate_queryset(self.get_object().deliveries.order_by("-pk"))
        return self.get_paginated_response(WebhookDeliverySerializer(page, many=True).data)
