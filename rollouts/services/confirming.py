"""Confirming deliveries by telemetry: the device runs the release and makes inferences with it."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from rollouts import machine
from rollouts.models import Delivery
from rollouts.plans import Policy
from telemetry.models import DeviceLatest
from telemetry.selectors.summaries import device_counts

Status = Delivery.Status
UNCONFIRMED = (*Delivery.OPEN, Status.SILENT)


def confirm(now: datetime) -> int:
    """Confirm what telemetry proves; returns how many.

    A device that reports the release has booted it, whatever its installer said or did not say (the fleet's own OTA
    system may not report at all); with enough successful inferences under the release's label the delivery is done.
    """
    rows = _unconfirmed().select_related("lane__rollout")
    groups: dict[tuple[int, int, datetime, int], list[Delivery]] = defaultdict(list)
    for row in rows:
        policy = row.lane.rollout.rules if row.lane else Policy()
        groups[row.workload_id, row.release_id, row.created_at, policy.confirmed_inferences].append(row)
    return sum(
        _confirm_group(deliveries, workload, release, since, needed, now)
        for (workload, release, since, needed), deliveries in groups.items()
    )


def _unconfirmed() -> QuerySet[Delivery]:
    """Open deliveries, and installations that had gone silent, of devices that nothing newer is on its way to."""
    newer = Delivery.objects.filter(device=OuterRef("device"), workload=OuterRef("workload"), pk__gt=OuterRef("pk"))
    silent = Q(status=Status.SILENT) & Q(lane__state__in=machine.WATCHED) & ~Exists(newer)
    return Delivery.objects.filter(Q(status__in=Delivery.OPEN) | silent, cancel_requested_at=None)


def _confirm_group(
    deliveries: Sequence[Delivery], workload: int, release: int, since: datetime, needed: int, now: datetime
) -> int:
    """Deliveries of one release that began together."""
    running = set(
        DeviceLatest.objects.filter(
            workload=workload, release=release, device__in=[row.device_id for row in deliveries]
        )
        .filter(Q(last_event_time__gte=since) | Q(last_event_time=None, last_seen_at__gte=since))
        .values_list("device_id", flat=True)
    )
    booted = [row for row in deliveries if row.device_id in running]
    if not booted:
        return 0
    _note_boot([row.pk for row in booted], now)
    counts = device_counts(
        [row.device_id for row in booted],
        workload_id=workload,
        release_ids=[release],
        # Roll-ups count by the minute in which it begins: the one of the start is part of the time since.
        start=since.replace(second=0, microsecond=0),
        end=now,
    )
    confirmed = []
    for row, successes in zip(booted, counts.ok.tolist(), strict=True):
        row.confirmed_inferences = successes
        if successes >= needed:
            confirmed.append(row.pk)
    Delivery.objects.bulk_update(booted, ["confirmed_inferences"], batch_size=1_000)
    return Delivery.objects.filter(pk__in=confirmed, status=Status.BOOTED, cancel_requested_at=None).update(
        status=Status.CONFIRMED, finished_at=now
    )


def _note_boot(ids: Sequence[int], now: datetime) -> None:
    """The release was seen running: booted, and therefore offered and installed."""
    Delivery.objects.filter(pk__in=ids, status__in=UNCONFIRMED).exclude(status=Status.BOOTED).update(
        status=Status.BOOTED,
        offered_at=Coalesce(F("offered_at"), now),
        installed_at=Coalesce(F("installed_at"), now),
        booted_at=Coalesce(F("booted_at"), now),
        progress_at=now,
        finished_at=None,
    )
