"""Offering: what a device should run now, handed out within slots, windows and pauses."""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from fleet.models import Device, Release
from rollouts import machine, maintenance
from rollouts.machine import State
from rollouts.models import Delivery, Lane
from rollouts.versions import is_newer
from telemetry.models import DeviceLatest


def open_deliveries(device: Device, workload: str = "") -> QuerySet[Delivery]:
    """The device's open deliveries, the way back first, then the oldest; those called off included."""
    rows = Delivery.objects.filter(device=device, status__in=Delivery.OPEN)
    if workload:
        rows = rows.filter(workload__slug=workload)
    return rows.select_related("release__workload", "lane", "run__stage", "device__region").order_by("-kind", "id")


def desired(device: Device, now: datetime, workload: str = "") -> Delivery | None:
    """The delivery that the device should follow now; a queued one is offered by this very answer."""
    return choose(open_deliveries(device, workload), now)


def choose(deliveries: Iterable[Delivery], now: datetime) -> Delivery | None:
    """The first of a device's open deliveries that stands, or can be offered now; nothing that was called off."""
    for delivery in deliveries:
        if delivery.cancel_requested_at is not None:
            continue
        if delivery.status != Delivery.Status.QUEUED:
            if _goes_on(delivery):
                return delivery
        elif offer(delivery, now):
            return delivery
    return None


def _goes_on(delivery: Delivery) -> bool:
    """Whether an offered delivery still stands: one that has begun does; a pause withholds one that has not."""
    return delivery.status != Delivery.Status.OFFERED or _lane_offers(delivery)


def _lane_offers(delivery: Delivery) -> bool:
    if delivery.lane is None:
        return True
    if delivery.kind == Delivery.Kind.ROLLBACK:
        # A device that was not reached in time goes back when it calls again.
        return delivery.lane.state in (State.ROLLING_BACK, State.ROLLED_BACK)
    # A withdrawn release goes nowhere, however far its rollout has come.
    if delivery.release.status != Release.Status.PUBLISHED:
        return False
    # A hold-back that is released after the watch belongs to a lane that has completed.
    return delivery.lane.state in machine.OFFERING or (
        delivery.run_id is None and delivery.lane.state == State.COMPLETED
    )


def offer(delivery: Delivery, now: datetime) -> bool:
    """Hand out a queued delivery if the lane, the window and the slots allow it; False: not now."""
    if delivery.blocked_until is not None and delivery.blocked_until > now:
        return False
    if not _lane_offers(delivery):
        return False
    if delivery.kind == Delivery.Kind.INSTALL:
        if _refuse_downgrade(delivery, now) or not _window_open(delivery, now):
            return False
        return _claim_slot(delivery, now)
    return _claim(delivery, now)


def _window_open(delivery: Delivery, now: datetime) -> bool:
    window = delivery.run.stage.maintenance_window if delivery.run else None
    return maintenance.is_open(window, now, delivery.device.region.timezone)


def _refuse_downgrade(delivery: Delivery, now: datetime) -> bool:
    """Downgrade protection: a device that runs something newer by now keeps it; only a rollback leads back."""
    latest = (
        DeviceLatest.objects.filter(device=delivery.device_id, workload=delivery.workload_id)
        .select_related("release")
        .first()
    )
    if latest is None or latest.release_id == delivery.release_id:
        return False
    running, wanted = latest.release, delivery.release
    if not is_newer(running.version, running.created_at, wanted.version, wanted.created_at):
        return False
    Delivery.objects.filter(pk=delivery.pk, status=Delivery.Status.QUEUED).update(
        status=Delivery.Status.CANCELLED, finished_at=now, detail=f"the device runs {running.version}, which is newer"
    )
    return True


def _claim_slot(delivery: Delivery, now: datetime) -> bool:
    """Take one of the lane's slots, where they are limited."""
    limit = delivery.run.stage.concurrency if delivery.run else None
    return _claim(delivery, now) if limit is None else _claim_within(limit, delivery, now)


@transaction.atomic
def _claim_within(limit: int, delivery: Delivery, now: datetime) -> bool:
    """The lane row is locked, so the last slot goes to one device."""
    Lane.objects.select_for_update().get(pk=delivery.lane_id)
    busy = Delivery.objects.filter(
        lane=delivery.lane_id,
        kind=Delivery.Kind.INSTALL,
        status__in=[Delivery.Status.OFFERED, *Delivery.BUSY],
        cancel_requested_at=None,
    ).count()
    return busy < limit and _claim(delivery, now)


def _claim(delivery: Delivery, now: datetime) -> bool:
    claimed = Delivery.objects.filter(pk=delivery.pk, status=Delivery.Status.QUEUED, cancel_requested_at=None).update(
        status=Delivery.Status.OFFERED, offered_at=now
    )
    if claimed:
        delivery.status, delivery.offered_at = Delivery.Status.OFFERED, now
    return bool(claimed)
