"""A device's request on its way to a batch: unpacked within limits, read, attributed to a device, let through."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from fleet.exceptions import NotAllowed
from fleet.models import Device
from telemetry import allowances, protocol
from telemetry.exceptions import TooMany
from telemetry.services.ingest.batches import Received, Sender, take_batch


@dataclass(frozen=True, slots=True)
class Request:
    """What came over the wire.

    Attributes:
        sender: the accepted device that the token belongs to.
        is_gateway: whether the token may speak for the devices behind the sender.
        body: as received.
        encoding: the Content-Encoding header.
        now: receive time.
        uptime_now_ms: the header Ridgeline-Uptime-Ms.
    """

    sender: Sender
    is_gateway: bool
    body: bytes
    encoding: str
    now: datetime
    uptime_now_ms: float | None = None


def receive(request: Request) -> dict[str, Any]:
    """Store the batch of a request and return the answer to it.

    Raises:
        UnknownEncoding, TooLarge, BadBody: see telemetry.protocol.
        NotAllowed: the envelope is for another device.
        TooMany: the device sends too often.
        BatchConflict: see `take_batch`.
    """
    body = protocol.decompress(request.body, request.encoding, settings.TELEMETRY_MAX_BYTES)
    batch = protocol.read_batch(body, settings.TELEMETRY_MAX_INFERENCES)
    device = device_of(request.sender, request.is_gateway, batch.envelope.device)
    require_allowance(device.pk, bulk=len(batch.inferences) > 0)
    return take_batch(device, Received(batch, body, len(request.body), request.now, request.uptime_now_ms))


def device_of(sender: Sender, is_gateway: bool, named: str | None) -> Sender:
    """The device that a batch is from.

    Raises:
        NotAllowed: the sender may not speak for the device that the envelope names.
    """
    if named is None or named == sender.serial:
        return sender
    if is_gateway:
        device = Device.objects.filter(serial=named, gateway_id=sender.pk).first()
        if device is not None and device.status == Device.Status.ACCEPTED:
            return device
        if device is not None:
            raise NotAllowed(f"Device {named} is {device.status}.", code=f"device_{device.status}")
    raise NotAllowed(f"This token may not speak for device {named}.", code="other_device")


def require_allowance(device_id: int, *, bulk: bool) -> None:
    """Take a request from the device's allowance; batches without inferences have one of their own.

    So a window, or the event that a driver was reset, never waits behind bulk.

    Raises:
        TooMany: nothing is left for now.
    """
    kind = "bulk" if bulk else "signals"
    wait = allowances.take(f"ingest-{kind}:{device_id}", rate=settings.INGEST_RATE, size=settings.INGEST_BURST)
    if wait:
        raise TooMany(wait)
