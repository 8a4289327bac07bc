"""Whom a stage can be drawn from: the devices that match, and why the others do not."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from fleet.models import Device, DeviceGroup, HardwareTarget, Region, Release
from rollouts import machine
from rollouts.cohorts import Arm, Candidate
from rollouts.models import CohortMember, Delivery, Rollout
from rollouts.plans import SELECTOR_FIELDS
from rollouts.versions import is_newer
from telemetry.models import DeviceLatest

Selector = Mapping[str, Sequence[str]]

_LOOKUPS = {
    "groups": "groups__slug__in",
    "regions": "region__slug__in",
    "hardware_targets": "hardware_target__slug__in",
    "devices": "serial__in",
}
_LABELS = {"groups": DeviceGroup, "regions": Region, "hardware_targets": HardwareTarget}


@dataclass(frozen=True)
class Match:
    """The candidates of a selection and how many selected devices are not among them, by hardware target and reason."""

    candidates: tuple[Candidate, ...]
    excluded_by_target: dict[str, dict[str, int]]
    # Release that each candidate ran last, by device id; a device that never reported is missing.
    running: dict[int, int]
    never_reported: int

    @property
    def excluded(self) -> dict[str, int]:
        """How many devices are left out by reason, the commonest first."""
        total: Counter[str] = Counter()
        for reasons in self.excluded_by_target.values():
            total.update(reasons)
        return dict(total.most_common())

    def narrowed(self, targets: Collection[str]) -> "Match":
        """The same with the candidates of some hardware targets alone."""
        chosen = tuple(candidate for candidate in self.candidates if candidate.hardware_target in targets)
        return Match(chosen, self.excluded_by_target, self.running, self.never_reported)


def select(selectors: Iterable[Selector]) -> QuerySet[Device]:
    """The devices that every selector names, whatever their status; an empty selector names all."""
    devices = Device.objects.all()
    for selector in selectors:
        for field, names in selector.items():
            devices = devices.filter(**{_LOOKUPS[field]: list(names)})
    # Several groups can each name the same device.
    return devices.distinct() if any("groups" in selector for selector in selectors) else devices


def unknown_names(selector: Selector) -> dict[str, list[str]]:
    """Names in a selector that nothing is called by, per field."""
    unknown = {}
    for field, names in selector.items():
        if field == "devices":
            known = set(Device.objects.filter(serial__in=names).values_list("serial", flat=True))
        else:
            known = set(_LABELS[field].objects.filter(slug__in=names).values_list("slug", flat=True))
        if missing := [name for name in names if name not in known]:
            unknown[field] = missing
    return unknown


def match(release: Release, selectors: Sequence[Selector], *, rollout: Rollout | None = None) -> Match:
    """Divide the selected devices into candidates for the release and those left out, each with one reason.

    With a rollout, its own earlier stages exclude nobody: the draw knows who was treated.
    """
    rows = list(
        select(selectors)
        .order_by("id")
        .values_list("id", "status", "hardware_target_id", "hardware_target__slug", "region__slug", "power_source")
    )
    supported = set(release.hardware_targets.values_list("id", flat=True))
    running = dict(DeviceLatest.objects.filter(workload=release.workload_id).values_list("device_id", "release_id"))
    elsewhere = set(
        DeviceLatest.objects.exclude(workload=release.workload_id).values_list("device_id", flat=True)
    ) - set(running)
    releases = Release.objects.in_bulk(set(running.values()))
    newer = {
        pk
        for pk, other in releases.items()
        if pk != release.pk and is_newer(other.version, other.created_at, release.version, release.created_at)
    }
    taken = _taken(release, rollout)
    treated = treated_devices(rollout) if rollout else frozenset()
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    candidates = []
    for device_id, status, target_id, target, region, power_source in rows:
        current = running.get(device_id)
        if device_id in treated:
            reason = ""
        elif status != Device.Status.ACCEPTED:
            reason = f"the device is {status}"
        elif supported and target_id not in supported:
            reason = f"the release does not support {target}"
        elif device_id in elsewhere:
            reason = f"the device reports another workload than {release.workload.slug}"
        elif current == release.pk:
            reason = "the device runs the release already"
        elif current in newer:
            reason = f"the device runs {releases[current].version}, which is newer"
        elif device_id in taken:
            reason = "another rollout of this workload has the device"
        else:
            reason = ""
        if reason:
            reasons[target][reason] += 1
        else:
            candidates.append(Candidate(device_id, target, region, power_source))
    ids = {candidate.device_id for candidate in candidates}
    return Match(
        tuple(candidates),
        {target: dict(found.most_common()) for target, found in sorted(reasons.items())},
        {device: current for device, current in running.items() if device in ids},
        never_reported=len(ids - set(running)),
    )


def _taken(release: Release, rollout: Rollout | None) -> frozenset[int]:
    """Devices of other rollouts of the workload that are under way, and those with an open delivery."""
    members = CohortMember.objects.filter(
        lane__rollout__workload=release.workload_id,
        lane__state__in=machine.SPREADING | {machine.State.PAUSED, machine.State.ROLLING_BACK},
        run__ended_at=None,
    )
    deliveries = Delivery.objects.filter(workload=release.workload_id, status__in=Delivery.OPEN)
    if rollout is not None:
        members = members.exclude(lane__rollout=rollout)
        deliveries = deliveries.exclude(lane__rollout=rollout)
    return frozenset(members.values_list("device_id", flat=True)) | frozenset(
        deliveries.values_list("device_id", flat=True)
    )


def treated_devices(rollout: Rollout) -> frozenset[int]:
    """Devices that any stage of the rollout has treated."""
    return frozenset(
        CohortMember.objects.filter(run__rollout=rollout, arm=Arm.TREATED).values_list("device_id", flat=True)
    )


def explain_empty(release: Release, selectors: Sequence[Selector]) -> str:
    """Why nothing matched, as the steps in which the fleet became nobody."""
    steps = [f"{Device.objects.count()} devices in the fleet"]
    devices = Device.objects.filter(status=Device.Status.ACCEPTED)
    steps.append(f"{devices.count()} accepted")
    supported = list(release.hardware_targets.values_list("slug", flat=True))
    if supported:
        devices = devices.filter(hardware_target__slug__in=supported)
        steps.append(f"{devices.count()} on {', '.join(sorted(supported))}, which the release supports")
    for selector in selectors:
        for field in (name for name in SELECTOR_FIELDS if name in selector):
            names = selector[field]
            devices = devices.filter(**{_LOOKUPS[field]: list(names)})
            shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
            steps.append(f"{devices.distinct().count()} in {field.replace('_', ' ')} {shown}")
    left = match(release, selectors)
    steps += [f"less {count}: {reason}" for reason, count in left.excluded.items() if "accepted" not in reason]
    return "; ".join(steps)


def late_joiners(rollout: Rollout, now: datetime) -> int:
    """Devices that match the rollout's selector and came after its cohorts were frozen: shown apart, in no arm."""
    if rollout.started_at is None:
        return 0
    return (
        select([rollout.selector])
        .filter(status=Device.Status.ACCEPTED, enrolled_at__gt=rollout.started_at, enrolled_at__lte=now)
        .exclude(cohorts__run__rollout=rollout)
        .count()
    )
