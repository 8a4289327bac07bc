"""REST: people, the caller's own account, and personal API tokens."""

from typing import Any

from django.contrib.auth.validators import UnicodeUsernameValidator
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fleet import scopes
from fleet.api.fields import KnownChoice
from fleet.api.resources import Resource
from fleet.authentication import scopes_of_request
from fleet.exceptions import NotAllowed
from fleet.models import Token, User
from fleet.models.people import Role
from fleet.openapi import FORBIDDEN, READ, UNAUTHENTICATED, WRITE
from fleet.services import people, tokens
from fleet.tables import CSVList

SCOPE_CHOICES = [*sorted(scopes.SCOPES), scopes.ALL]


class UserSerializer(serializers.ModelSerializer):
    """A person."""

    roles = serializers.ListField(child=KnownChoice(choices=Role.choices), required=False)
    username = serializers.CharField(max_length=150, validators=[UnicodeUsernameValidator()])
    password = serializers.CharField(write_only=True, required=False, max_length=128, trim_whitespace=False)

    class Meta:
        model = User
        fields = [
            "id",
            "username",
            "first_name",
            "last_name",
            "email",
            "roles",
            "is_active",
            "date_joined",
            "last_login",
            "password",
        ]
        read_only_fields = ["id", "date_joined", "last_login"]


@extend_schema_view(
    list=extend_schema(responses={200: UserSerializer(many=True), **READ}),
    retrieve=extend_schema(responses={200: UserSerializer, **READ}),
)
class UserViewSet(CSVList, Resource):
    """People who may log in; for administrators."""

    required_scopes = dict.fromkeys(["GET", "POST", "PATCH"], "admin")
    queryset = User.objects.all()
    serializer_class = UserSerializer
    named_by = ("username",)
    filterset_fields = ["username", "is_active"]
    csv_columns = tuple(name for name in UserSerializer.Meta.fields if name != "password")

    @extend_schema(request=UserSerializer, responses={201: UserSerializer, **WRITE})
    def create(self, request: Request) -> Response:
        """Create an account."""
        fields = self.valid(UserSerializer)
        fields.pop("is_active", None)
        user = people.create_user(actor=self.actor, now=self.now, **fields)
        return Response(self.get_serializer(user).data, status=201)

    @extend_schema(request=UserSerializer, responses={200: UserSerializer, **WRITE})
    def partial_update(self, request: Request, reference: str) -> Response:
        """Change roles, names, address, password, or whether the account is active."""
        user = self.get_object()
        fields = self.valid(UserSerializer, instance=user, partial=True)
        if fields.pop("username", user.username) != user.username:
            raise serializers.ValidationError({"username": "A user name cannot be changed: the audit trail uses it."})
        people.update_user(user, actor=self.actor, now=self.now, **fields)
        return Response(self.get_serializer(user).data)


class MeSerializer(serializers.Serializer):
    """Who the caller is and what the caller may do."""

    username = serializers.CharField()
    roles = serializers.ListField(child=serializers.CharField())
    scopes = serializers.ListField(child=serializers.CharField())
    token = serializers.CharField(allow_null=True, help_text="The name of the API token in use.")


class MeView(APIView):
    """The caller's own account."""

    required_scopes = {"GET": "fleet:read"}

    @extend_schema(responses={200: MeSerializer, **UNAUTHENTICATED, **FORBIDDEN})
    def get(self, request: Request) -> Response:
        """Name, roles and scopes, narrowed by the token where one is used."""
        return Response(
            {
                "username": request.user.username,
                "roles": request.user.roles,
                "scopes": sorted(scopes_of_request(request)),
                "token": request.auth.name if request.auth else None,
            }
        )


class ApiTokenSerializer(serializers.ModelSerializer):
    """A personal API token; never its secret."""

    user = serializers.SlugRelatedField(slug_field="username", queryset=User.objects.all(), required=False)
    name = serializers.CharField(max_length=64)
    scopes = serializers.ListField(child=KnownChoice(choices=SCOPE_CHOICES), allow_empty=False)

    class Meta:
        model = Token
        fields = [
            "id",
            "user",
            "name",
            "key_id",
            "scopes",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        ]
        read_only_fields = ["id", "key_id", "created_at", "revoked_at", "last_used_at"]


class NewApiTokenSerializer(ApiTokenSerializer):
    """An API token just created, with its text."""

    token = serializers.CharField(read_only=True, help_text="Shown this once.")

    class Meta(ApiTokenSerializer.Meta):
        fields = [*ApiTokenSerializer.Meta.fields, "token"]


@extend_schema_view(
    list=extend_schema(
        responses={200: ApiTokenSerializer(many=True), **READ},
        parameters=[
            OpenApiParameter(
                "user", str, description="Administrators: the tokens of this person, or `*` for everyone's."
            )
        ],
    ),
    retrieve=extend_schema(responses={200: ApiTokenSerializer, **READ}),
)
class ApiTokenViewSet(CSVList, Resource):
    """Personal API tokens: one's own, and for administrators those of others."""

    required_scopes = dict.fromkeys(["GET", "POST", "DELETE"], "account")
    queryset = Token.objects.filter(kind=Token.Kind.API).select_related("user")
    serializer_class = ApiTokenSerializer

    def _is_admin(self) -> bool:
        return "admin" in scopes_of_request(self.request)

    def get_queryset(self) -> QuerySet[Token]:
        """One's own tokens; an administrator reaches all, and lists those of one person or of everyone if asked."""
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        asked = self.request.query_params.get("user") if self.action == "list" else "*"
        if not self._is_admin() or asked is None:
            return rows.filter(user=self.request.user)
        return rows if asked == "*" else rows.filter(user__username=asked.replace("\0", ""))

    @extend_schema(request=ApiTokenSerializer, responses={201: NewApiTokenSerializer, **WRITE})
    def create(self, request: Request) -> Response:
        """Create a token. It can hold no scope that the caller has not, and none acts beyond its person's roles."""
        fields = self.valid(ApiTokenSerializer)
        owner = fields.pop("user", request.user)
        if owner != request.user and not self._is_admin():
            raise NotAllowed("Only administrators create tokens for others.")
        self._assert_within(fields["scopes"])
        if fields.get("expires_at") and fields["expires_at"] <= self.now:
            raise serializers.ValidationError({"expires_at": "The expiry lies in the past."})
        token, raw = tokens.create_api_token(owner, actor=self.actor, now=self.now, **fields)
        return Response(self.get_serializer(token).data | {"token": raw}, status=201)

    def _assert_within(self, wanted: list[str]) -> None:
        held = scopes_of_request(self.request)
        unrestricted = held == scopes.scopes_of_user(self.request.user)
        beyond = [scope for scope in wanted if scope not in held and not (scope == scopes.ALL and unrestricted)]
        if beyond:
            raise serializers.ValidationError({"scopes": f"You do not hold {', '.join(beyond)} yourself."})

    def _revoke(self) -> Any:
        token = self.get_object()
        tokens.revoke_token(token, actor=self.actor, now=self.now)
        return token

    @extend_schema(request=None, responses={200: ApiTokenSerializer, **WRITE})
    def revoke(self, request: Request, reference: str) -> Response:
        """Revoke a token, effective with the next request."""
        return Response(self.get_serializer(self._revoke()).data)

    @extend_schema(responses={204: None, **WRITE})
    def destroy(self, request: Request, reference: str) -> Response:
        """The same as revoke; the row stays for the audit trail."""
        self._revoke()
        return Response(status=204)
