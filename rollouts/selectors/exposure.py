"""How far a lane's stage has come: deliveries by outcome, inferences on the new release, devices gone quiet."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.contrib.postgres.aggregates import BoolOr
from django.db.models import Count, Q

from rollouts.cohorts import Arm
from rollouts.models import CohortMember, Delivery, Lane, StageRun
from rollouts.policy import Exposure
from telemetry.models import DeviceLatest
from telemetry.selectors.summaries import device_counts

_STATUS = Delivery.Status


def quiet_after(run: StageRun) -> timedelta:
    """How long a device may say nothing before it counts as quiet."""
    rollout = run.rollout
    return timedelta(seconds=rollout.rules.silent_intervals * rollout.workload.expected_interval_s)


def delivery_counts(run: StageRun, lane: Lane) -> dict[str, int]:
    """Treated devices by what became of their installation, over all attempts.

    A device counts as failed or silent while no later attempt was confirmed; offered includes all that came after.
    """
    devices = (
        Delivery.objects.filter(run=run, lane=lane, kind=Delivery.Kind.INSTALL)
        .values("device")
        .annotate(
            was_offered=BoolOr(Q(offered_at__isnull=False)),
            was_confirmed=BoolOr(Q(status=_STATUS.CONFIRMED)),
            had_failed=BoolOr(Q(status__in=[_STATUS.FAILED, _STATUS.TIMED_OUT])),
            fell_silent=BoolOr(Q(status=_STATUS.SILENT)),
            is_busy=BoolOr(Q(status__in=[*Delivery.BUSY, _STATUS.OFFERED])),
            is_queued=BoolOr(Q(status=_STATUS.QUEUED)),
        )
    )
    confirmed, unconfirmed = Q(was_confirmed=True), Q(was_confirmed=False)
    return devices.aggregate(
        treated=Count("device"),
        offered=Count("device", filter=Q(was_offered=True)),
        confirmed=Count("device", filter=confirmed),
        failed=Count("device", filter=unconfirmed & Q(had_failed=True)),
        silent=Count("device", filter=unconfirmed & Q(fell_silent=True)),
        in_flight=Count("device", filter=unconfirmed & Q(is_busy=True)),
        queued=Count("device", filter=unconfirmed & Q(is_queued=True, is_busy=False)),
    )


def exposure_of(run: StageRun, lane: Lane, now: datetime) -> Exposure:
    """The figures that decide, read fresh."""
    counts = delivery_counts(run, lane)
    members = CohortMember.objects.filter(run=run, lane=lane)
    treated = list(members.filter(arm=Arm.TREATED).values_list("device_id", flat=True))
    control = list(members.exclude(arm=Arm.TREATED).values_list("device_id", flat=True))
    installed = list(
        Delivery.objects.filter(run=run, lane=lane, kind=Delivery.Kind.INSTALL, status=_STATUS.CONFIRMED)
        .values_list("device_id", flat=True)
        .distinct()
    )
    return Exposure(
        **counts,
        inferences=inferences(run, treated, now),
        control=len(control),
        quiet=_quiet(run, installed, now),
        control_quiet=_quiet(run, control, now),
    )


def inferences(run: StageRun, devices: list[int], now: datetime) -> int:
    """Inferences that the devices made on the run's release since it started."""
    if not devices or run.started_at >= now:
        return 0
    release = run.rollout.release
    # The minute of the start included: nobody ran the release before it.
    start = run.started_at.replace(second=0, microsecond=0)
    found = device_counts(devices, workload_id=release.workload_id, release_ids=[release.pk], start=start, end=now)
    return int(found.count.sum())


def _quiet(run: StageRun, devices: list[int], now: datetime) -> int:
    heard = DeviceLatest.objects.filter(
        device__in=devices, workload=run.rollout.workload_id, last_seen_at__gt=now - quiet_after(run)
    ).count()
    return len(devices) - heard


def as_rows(exposures: dict[str, Exposure]) -> dict[str, dict[str, Any]]:
    """Exposures by hardware target as plain JSON."""
    return {target: asdict(exposure) for target, exposure in sorted(exposures.items())}


def possibly_on_release(lane: Lane) -> Iterable[Delivery]:
    """The latest installation of each device of the lane that may have put the new release on it.

    Queued ones were never offered; a failed one may have failed after it was written. Newest attempt per device.
    """
    return (
        Delivery.objects.filter(lane=lane, kind=Delivery.Kind.INSTALL, offered_at__isnull=False)
        .order_by("device_id", "-id")
        .distinct("device_id")
        .select_related("device", "previous_release__workload")
    )
