"""REST: who hears of rollouts by signed webhook."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

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
