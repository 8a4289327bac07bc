"""The reverse plan: where each device of a lane would go back to, how many can be reached, and what is at stake."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef

from fleet.models import Release
from fleet.selectors.releases import difference
from rollouts.models import Delivery, Lane
from rollouts.selectors.exposure import possibly_on_release
from rollouts.versions import is_newer
from telemetry.models import DeviceLatest
from telemetry.selectors.summaries import device_counts

LOOK_BACK = timedelta(hours=1)


def last_good_release(lane: Lane) -> Release | None:
    """The newest older published release that supports the hardware target and was not withdrawn."""
    release = lane.rollout.release
    rows = Release.objects.filter(workload=release.workload_id, status=Release.Status.PUBLISHED).exclude(pk=release.pk)
    found: Release | None = None
    for row in rows.prefetch_related("hardware_targets"):
        supported = {target.pk for target in row.hardware_targets.all()}
        if supported and lane.hardware_target_id not in supported:
            continue
        if not is_newer(release.version, release.created_at, row.version, row.created_at):
            continue
        if found is None or is_newer(row.version, row.created_at, found.version, found.created_at):
            found = row
    return found


def destination(delivery: Delivery, fallback: Release | None) -> Release | None:
    """Where a device goes back to: what it ran before, unless that was withdrawn or never registered."""
    previous = delivery.previous_release
    if previous is not None and previous.status in (Release.Status.PUBLISHED, Release.Status.UNREGISTERED):
        return previous
    return fallback


def reverse_plan(lane: Lane, now: datetime) -> dict[str, Any]:
    """What a rollback of the lane would do, as plain JSON.

    `devices` may run the new release; `reachable` of them were heard from within the expected interval; `destinations`
    counts devices per release; `without_destination` have none. `inferences_per_hour` on the new release is what the
    lane goes on doing until it is back; `lost` lists the parts of the bill of materials that go back with it.
    """
    rollout = lane.rollout
    fallback = last_good_release(lane)
    deliveries = list(possibly_on_release(lane))
    destinations = Counter(destination(delivery, fallback) for delivery in deliveries)
    devices = [delivery.device_id for delivery in deliveries]
    quiet = timedelta(seconds=rollout.rules.silent_intervals * rollout.workload.expected_interval_s)
    reachable = DeviceLatest.objects.filter(
        device__in=devices, workload=rollout.workload_id, last_seen_at__gt=now - quiet
    ).count()
    recent = device_counts(
        devices,
        workload_id=rollout.workload_id,
        release_ids=[rollout.release_id],
        start=now - LOOK_BACK,
        end=now,
    )
    known = [(release, count) for release, count in destinations.most_common() if release is not None]
    return {
        "hardware_target": lane.hardware_target.slug,
        "devices": len(devices),
        "reachable": reachable,
        "unreachable": len(devices) - reachable,
        "destinations": [{"release": release.version, "devices": count} for release, count in known],
        "without_destination": destinations.get(None, 0),
        "inferences_per_hour": int(recent.count.sum()),
        "lost": [row for row in difference(known[0][0], rollout.release) if row["changed"]] if known else [],
    }


def not_reached(lane: Lane) -> list[str]:
    """Serial numbers of the devices whose way back has not ended well: under way, failed, or never heard of again."""
    back = Delivery.objects.filter(lane=lane, kind=Delivery.Kind.ROLLBACK)
    status = Delivery.Status
    done = back.filter(status__in=[status.CONFIRMED, status.CANCELLED, status.SUPERSEDED], device=OuterRef("device"))
    waiting = back.filter(~Exists(done)).order_by("device__serial").distinct()
    return list(waiting.values_list("device__serial", flat=True))


def stranded(lane: Lane) -> list[str]:
    """Serial numbers of the devices that may run the release and have no earlier one to go back to: nobody fetches
    them."""
    back = set(
        Delivery.objects.filter(lane=lane, kind=Delivery.Kind.ROLLBACK).values_list("device_id", flat=True).distinct()
    )
    return sorted(row.device.serial for row in possibly_on_release(lane) if row.device_id not in back)
