"""Which requests a REST view lets through: people by scope, devices by their status."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from fleet.authentication import DevicePrincipal, scopes_of_request
from fleet.exceptions import NotAllowed
from fleet.models import Device, User


def required_scope(view: Any, method: str) -> str | None:
    """The scope that a view asks for.

    `action_scopes = {"publish": "releases:write"}` speaks for one action of a viewset, `required_scopes = {"GET": …}`
    for a method, and `scope = "releases"` for all: `releases:read` where the method is safe, else `releases:write`.
    """
    by_action = getattr(view, "action_scopes", {})
    if getattr(view, "action", None) in by_action:
        return by_action[view.action]
    by_method = getattr(view, "required_scopes", {})
    wanted = "GET" if method in ("HEAD", "OPTIONS") else method
    if wanted in by_method:
        return by_method[wanted]
    scope = getattr(view, "scope", None)
    if scope is None:
        return None
    return f"{scope}:{'read' if method in SAFE_METHODS else 'write'}"


class HasScope(BasePermission):
    """People whose roles, and whose token where they use one, include the scope; a view that names none is closed."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether the request may go on; device tokens never may."""
        if not isinstance(request.user, User):
            return False
        wanted = required_scope(view, request.method)
        if wanted is None or wanted not in scopes_of_request(request):
            self.message = f"This needs the right {wanted}." if wanted else "Nobody has the right to do this."
            return False
        return True


class IsDevice(BasePermission):
    """Devices and gateways whose device is accepted."""

    message = "Only a device token opens this."

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether the request comes from an accepted device; a refusal says in which state the device is."""
        if not isinstance(request.user, DevicePrincipal):
            return False
        assert_may_send(request.user.device)
        return True


def assert_may_send(device: Device) -> None:
    """Raise `NotAllowed` unless the device is accepted."""
    if device.status != Device.Status.ACCEPTED:
        raise NotAllowed(f"The device is {device.status}.", code=f"device_{device.status}")
