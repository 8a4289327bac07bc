"""Who speaks DDI: a device with its own token, or a gateway for the devices behind it."""

from datetime import datetime

from django.http import HttpRequest

from fleet.actors import Actor
from fleet.exceptions import BadCredentials, InvalidInput, NotAllowed
from fleet.models import Device, Token
from fleet.permissions import assert_may_send
from fleet.services import tokens
from fleet.services.devices import NewDevice, register_devices

MAX_CONTROLLER_ID = 256


def controller(request: HttpRequest, controller_id: str, now: datetime, *, polls: bool = False) -> Device:
    """The device that a request speaks for.

    `Authorization: TargetToken <device token>` speaks for that device alone, `GatewayToken <gateway token>` for the
    gateway and what is behind it; on a base poll (`polls`) it registers a device that nobody knows, with the gateway's
    own labels. Raises BadCredentials (401, empty) and NotAllowed (403) for a device that is not accepted.
    """
    scheme, _, raw = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    kind = {"TargetToken": Token.Kind.DEVICE, "GatewayToken": Token.Kind.GATEWAY}.get(scheme)
    token = tokens.authenticate(raw, now) if kind and raw else None
    if token is None or token.kind != kind:
        raise BadCredentials
    if token.device.serial == controller_id:
        device = token.device
    elif kind == Token.Kind.GATEWAY:
        assert_may_send(token.device)
        device = _behind(token.device, controller_id, now, register=polls)
    else:
        raise BadCredentials
    assert_may_send(device)
    return device


def _behind(gateway: Device, serial: str, now: datetime, *, register: bool) -> Device:
    known = Device.objects.filter(serial=serial).first()
    if known is not None:
        if known.gateway_id != gateway.pk:
            raise BadCredentials
        return known
    if not register:
        raise BadCredentials
    new = NewDevice(serial=serial, hardware_target=gateway.hardware_target, region=gateway.region, gateway=gateway)
    try:
        ((device, _),) = register_devices([new], actor=Actor.of_device(gateway), now=now)
    except InvalidInput as error:
        raise NotAllowed(str(error)) from error
    return device
