"""REST: the keys whose signatures on artifacts count."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from fleet.api.resources import ReasonSerializer, Resource
from fleet.models import SigningKey
from fleet.openapi import READ, WRITE
from fleet.services import signing_keys
from fleet.tables import CSVList


class SigningKeySerializer(serializers.ModelSerializer):
    """A public key whose signatures on artifacts are accepted."""

    public_key = serializers.CharField(max_length=1000, help_text="Ed25519, as PEM, hexadecimal or base64.")

    class Meta:
        model = SigningKey
        fields = ["id", "name", "public_key", "created_at", "revoked_at"]
        read_only_fields = ["id", "created_at", "revoked_at"]
        extra_kwargs = {"name": {"validators": []}}

    def to_representation(self, key: SigningKey) -> dict[str, Any]:
        """The fields, with the key as hexadecimal."""
        return {
            "id": key.pk,
            "name": key.name,
            "public_key": bytes(key.public_key).hex(),
            "created_at": self.fields["created_at"].to_representation(key.created_at),
            "revoked_at": key.revoked_at and self.fields["revoked_at"].to_representation(key.revoked_at),
        }


@extend_schema_view(
    list=extend_schema(responses={200: SigningKeySerializer(many=True), **READ}),
    retrieve=extend_schema(responses={200: SigningKeySerializer, **READ}),
)
class SigningKeyViewSet(CSVList, Resource):
    """The keys whose signatures count."""

    required_scopes = {"GET": "releases:read", "POST": "admin"}
    queryset = SigningKey.objects.all()
    serializer_class = SigningKeySerializer
    named_by = ("name",)

    @extend_schema(request=SigningKeySerializer, responses={201: SigningKeySerializer, **WRITE})
    def create(self, request: Request) -> Response:
        """Register a public key."""
        key = signing_keys.register_signing_key(**self.valid(SigningKeySerializer), actor=self.actor, now=self.now)
        return Response(self.get_serializer(key).data, status=201)

    @extend_schema(request=ReasonSerializer, responses={200: SigningKeySerializer, **WRITE})
    def revoke(self, request: Request, reference: str) -> Response:
        """Accept no further signature of the key."""
        key = signing_keys.revoke_signing_key(self.get_object(), actor=self.actor, now=self.now, reason=self.reason())
        return Response(self.get_serializer(key).data)
