"""What drf-spectacular cannot see: the bearer scheme, the problem shape, and which spelling of an address counts."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers

Endpoint = tuple[str, str, str, Callable[..., Any]]


class BearerScheme(OpenApiAuthenticationExtension):
    """Device tokens and personal API tokens."""

    target_class = "fleet.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """The scheme as OpenAPI writes it."""
        return {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer rdl_…`"}


class SessionScheme(OpenApiAuthenticationExtension):
    """People who are logged in to the pages."""

    target_class = "fleet.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """The scheme as OpenAPI writes it."""
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


class FieldErrorSerializer(serializers.Serializer):
    """One bad field."""

    field = serializers.CharField()
    message = serializers.CharField()
    code = serializers.CharField()


class ProblemSerializer(serializers.Serializer):
    """The one shape of every refusal (problem+json)."""

    type = serializers.CharField(default="about:blank")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    errors = FieldErrorSerializer(many=True)
    state = serializers.CharField(required=False, help_text="With 409: the state that does not allow the action.")
    allowed_actions = serializers.ListField(child=serializers.CharField(), required=False, help_text="With 409.")


def _refusal(text: str) -> OpenApiResponse:
    return OpenApiResponse(ProblemSerializer, description=text)


UNAUTHENTICATED = {401: _refusal("No token or session, or one that is not good")}
FORBIDDEN = {403: _refusal("The right is missing")}
NOT_FOUND = {404: _refusal("There is no such thing")}
CONFLICT = {409: _refusal("The state does not allow this; `state` and `allowed_actions` say what it does")}
INVALID = {400: _refusal("The body cannot be read"), 422: _refusal("Bad input, with one entry per field")}
TOO_MANY = {429: _refusal("Too many requests; wait as Retry-After says")}

READ = UNAUTHENTICATED | FORBIDDEN | NOT_FOUND
WRITE = READ | CONFLICT | INVALID


def one_spelling(endpoints: list[Endpoint]) -> list[Endpoint]:
    """Each address once: the one without a slash at its end, and not its `.csv` twin."""
    paths = {path for path, *_ in endpoints}
    return [
        endpoint
        for endpoint in endpoints
        if not (endpoint[0].endswith("/") and endpoint[0].rstrip("/") in paths) and not endpoint[0].endswith(".csv")
    ]
