"""Who sends a REST request: a person's session, a person's API token, or a device's token."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from fleet import scopes
from fleet.models import Device, Token, User
from fleet.services import tokens


@dataclass(frozen=True, slots=True)
class DevicePrincipal:
    """A device as the user of a request; it has no roles, so nothing that is meant for people opens to it."""

    device: Device
    token: Token
    is_authenticated: bool = True
    is_active: bool = True
    is_staff: bool = False
    is_superuser: bool = False

    @property
    def pk(self) -> str:
        """A key for throttles and logs, apart from those of people."""
        return f"device-{self.device.pk}"

    @property
    def username(self) -> str:
        """The serial, for logs."""
        return self.device.serial

    @property
    def is_gateway(self) -> bool:
        """Whether the token may speak for the devices behind this one."""
        return self.token.kind == Token.Kind.GATEWAY

    def has_role(self, *roles: str) -> bool:
        """A device holds no role."""
        return False


def bearer_token(request: HttpRequest | Request) -> str | None:
    """The token of `Authorization: Bearer <token>`, or None where the header is missing or of another scheme."""
    scheme, _, credentials = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None


def principal_of(token: Token) -> User | DevicePrincipal:
    """Whom a checked token speaks for."""
    return token.user if token.kind == Token.Kind.API else DevicePrincipal(token.device, token)


def scopes_of_request(request: Any) -> frozenset[str]:
    """What the request may do: the person's scopes, narrowed by the token where there is one; nothing for devices."""
    if not isinstance(request.user, User):
        return frozenset()
    held = scopes.scopes_of_user(request.user)
    return scopes.narrow(held, request.auth.scopes) if isinstance(request.auth, Token) else held


class BearerAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer rdl_…`; `request.auth` is the token, `request.user` the person or the device."""

    def authenticate(self, request: Request) -> tuple[User | DevicePrincipal, Token] | None:
        """The principal and the token; None without a bearer header; 401 where the token is not good."""
        raw = bearer_token(request)
        if raw is None:
            return None
        token = tokens.authenticate(raw, timezone.now())
        if token is None:
            raise exceptions.AuthenticationFailed("The token is not valid.", code="bad_token")
        return principal_of(token), token

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return 'Bearer realm="ridgeline"'


class SessionAuthentication(authentication.SessionAuthentication):
    """A person who is logged in to the pages; unsafe methods need the CSRF token."""
