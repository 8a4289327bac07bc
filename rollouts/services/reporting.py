"""What devices say of their installations: noted as advice, never taken for success."""

from datetime import datetime

from django.db import transaction

from fleet.exceptions import InvalidInput, NotFound
from fleet.models import Device
from rollouts.models import Delivery, DeliveryStep

Status = Delivery.Status

# What a device may report -> the status that it leads to.
REPORTED: dict[str, str] = {
    "downloading": Status.DOWNLOADING,
    "installing": Status.INSTALLING,
    "installed": Status.INSTALLED,
    "booted": Status.BOOTED,
    "failed": Status.FAILED,
    "rejected": Status.FAILED,
}
_ORDER = [Status.QUEUED, Status.OFFERED, Status.DOWNLOADING, Status.INSTALLING, Status.INSTALLED, Status.BOOTED]
# A chatty device cannot fill the table.
MAX_STEPS = 1_000
MAX_DETAIL = 2_000


def delivery_of(device: Device, action_id: int) -> Delivery:
    """The device's own delivery of this id; `NotFound` also for one of another device."""
    found = Delivery.objects.filter(pk=action_id, device=device).select_related("release__workload", "lane").first()
    if found is None:
        raise NotFound("This device has no such action.", code="unknown_action")
    return found


def report(
    device: Device, *, action_id: int, status: str, now: datetime, progress: int | None = None, detail: str = ""
) -> Delivery:
    """Note what a device says. Reports may come late and twice: a status never goes backwards, an end stays an end."""
    if status not in REPORTED:
        raise InvalidInput({"status": f"This is one of {', '.join(REPORTED)}."})
    if progress is not None and not 0 <= progress <= 100:
        raise InvalidInput({"progress": "This lies between 0 and 100."})
    return note(
        delivery_of(device, action_id), REPORTED[status], now=now, progress=progress, detail=detail, said=status
    )


@transaction.atomic
def note(
    delivery: Delivery,
    status: str,
    *,
    now: datetime,
    progress: int | None = None,
    detail: str = "",
    said: str = "",
) -> Delivery:
    """Keep the message as a step and move the delivery where the message leads forward."""
    detail = detail[:MAX_DETAIL]
    if DeliveryStep.objects.filter(delivery=delivery).count() < MAX_STEPS:
        DeliveryStep.objects.create(delivery=delivery, at=now, status=said or status, progress=progress, detail=detail)
    delivery = Delivery.objects.select_for_update(of=("self",)).get(pk=delivery.pk)
    if not delivery.is_open:
        return delivery
    if status == Status.FAILED:
        delivery.status, delivery.finished_at, delivery.detail = Status.FAILED, now, detail or "the device says failed"
    elif _ORDER.index(status) >= _ORDER.index(delivery.status):
        delivery.status = status
        delivery.detail = detail
    delivery.offered_at = delivery.offered_at or now
    delivery.progress_at = now
    if progress is not None:
        delivery.progress = progress
    if delivery.status in (Status.INSTALLED, Status.BOOTED):
        delivery.installed_at = delivery.installed_at or now
    if delivery.status == Status.BOOTED:
        delivery.booted_at = delivery.booted_at or now
    delivery.save()
    return delivery
