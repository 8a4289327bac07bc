"""What is asked of a retrospective: the validated request as a plan and a schedule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from drift.services.cohorts import Assignment, cohorts
from drift.services.looks import LookPlan, PlanDevice, pre_period
from drift.stats.metrics import METRICS
from fleet.exceptions import InvalidInput
from fleet.models import Device, Release, Workload
from fleet.models.budgets import Limit

MAXIMUM_LOOKS = 1000
STRATA_ATTRIBUTES = ("hardware_target", "region", "power_source")


@dataclass(frozen=True)
class Schedule:
    """When a retrospective looks: every step after the start, up to and including `until`."""

    started_at: datetime
    every: timedelta
    until: datetime

    @property
    def times(self) -> list[datetime]:
        """The moments of the looks, oldest first."""
        count = int((self.until - self.started_at) / self.every)
        return [self.started_at + (index + 1) * self.every for index in range(count)]


def plan_of(request: Mapping[str, Any]) -> tuple[LookPlan, Schedule]:
    """The validated request as a plan and a schedule; raises InvalidInput naming each field that makes no sense.

    Without an assignment seed the groups were not drawn at random as far as anybody can show: the comparison is then
    observational, gives numbers and intervals, and fails a release by hard limits alone.
    """
    errors: dict[str, str] = {}
    workload = Workload.objects.filter(slug=request["workload"]).first()
    release = workload and Release.objects.filter(workload=workload, version=request["release"]).first()
    if workload is None:
        errors["workload"] = f"There is no workload {request['workload']!r}."
    elif release is None:
        errors["release"] = f"There is no release {request['release']!r} of {workload.slug}."
    devices = {name: _devices(request[name], name, errors) for name in ("treated", "control")}
    both = {device.pk for device in devices["treated"]} & {device.pk for device in devices["control"]}
    if both:
        serials = sorted(device.serial for device in devices["treated"] if device.pk in both)
        errors["control"] = f"In both groups: {', '.join(serials[:5])}."
    schedule = Schedule(request["started_at"], request["looks"]["every"], request["looks"]["until"])
    if schedule.until <= schedule.started_at:
        errors["looks.until"] = "Must lie after started_at."
    elif not schedule.times:
        errors["looks.every"] = "Longer than the time from started_at to until: no look would be taken."
    elif len(schedule.times) > MAXIMUM_LOOKS:
        errors["looks.every"] = f"{len(schedule.times)} looks; at most {MAXIMUM_LOOKS}."
    given = request.get("assignment") or {}
    pre_start, pre_end = pre_period(schedule.started_at)
    if request.get("pre"):
        pre_start, pre_end = request["pre"]["from"], request["pre"]["to"]
        if not pre_start < pre_end <= schedule.started_at:
            errors["pre"] = "Must end after it begins, and not after started_at."
    targets = {device.hardware_target.slug for group in devices.values() for device in group}
    margins, limits = budget_of(request.get("budget") or {}, targets, errors)
    everyone = [*devices["treated"], *devices["control"]]
    drawn = _drawn(given.get("rollout"), devices["treated"], errors)
    seed = given.get("seed")
    if given.get("strata") is None and drawn is not None:
        strata = _drawn_strata(drawn, everyone, errors)
    else:
        strata = _strata(given.get("strata"), everyone, errors)
    if drawn is not None:
        seed = drawn.seed if seed is None else seed
    if errors:
        raise InvalidInput(errors)
    assert workload is not None and release is not None
    members = [
        PlanDevice(
            device_id=device.pk,
            serial=device.serial,
            treated=name == "treated",
            hardware_target=device.hardware_target.slug,
            stratum=strata[device.pk],
        )
        for name, group in devices.items()
        for device in group
    ]
    plan = LookPlan(
        workload_id=workload.pk,
        release_id=release.pk,
        baseline_release_ids=(),
        # one order for one set of devices, so that the same seed draws the same assignments
        devices=tuple(sorted(members, key=lambda member: member.device_id)),
        seed=seed or 0,
        randomised=seed is not None and (drawn is None or drawn.randomised),
        pre_start=pre_start,
        pre_end=pre_end,
        started_at=schedule.started_at,
        window=schedule.every,
        planned_looks=len(schedule.times),
        minimum_hours=request.get("minimum_hours", 24.0),
        alpha=request.get("alpha", 0.05),
        permutations=request.get("permutations", 10_000),
        margins=margins,
        limits=limits,
        described=(),
    )
    return plan, schedule


def describe(value: Any) -> Any:
    """A request as plain JSON, times as RFC 3339 and durations in seconds."""
    if isinstance(value, Mapping):
        return {str(key): describe(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [describe(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value


def budget_of(
    budget: Mapping[str, Any], targets: set[str], errors: dict[str, str]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Margins and limits per hardware target.

    A budget is `{"margins": {metric: …}, "hard_limits": {limit: …}}`, or the same names without the two headings; under
    a hardware target's name it holds for that target only, else for all.
    """
    margins: dict[str, dict[str, float]] = {}
    limits: dict[str, dict[str, float]] = {}

    def put(name: str, value: Any, where: set[str], path: str) -> None:
        known = margins if name in METRICS else limits if name in Limit.values else None
        if known is None:
            errors[path] = "Neither a metric nor a limit. Limits: " + ", ".join(Limit.values) + "."
        elif isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            errors[path] = "Must be a number of at least 0."
        else:
            for target in where:
                known.setdefault(target, {})[name] = float(value)

    def read(part: Mapping[str, Any], where: set[str], path: str) -> None:
        for name, value in part.items():
            here = f"{path}.{name}"
            if name in ("margins", "hard_limits") and isinstance(value, Mapping):
                read(value, where, here)
            elif name in targets and isinstance(value, Mapping):
                read(value, {name}, here)
            else:
                put(name, value, where, here)

    read(budget, targets, "budget")
    return margins, limits


def _devices(names: Sequence[int | str], field: str, errors: dict[str, str]) -> list[Device]:
    """Devices by id or serial; an unknown one is an error, because a device left out would change the answer."""
    ids = {name for name in names if isinstance(name, int)}
    serials = {name for name in names if isinstance(name, str)}
    found = list(
        Device.objects.filter(pk__in=ids).union(Device.objects.filter(serial__in=serials)).values_list("pk", flat=True)
    )
    devices = list(Device.objects.filter(pk__in=found).select_related("hardware_target", "region"))
    unknown = (ids - {device.pk for device in devices}) | (serials - {device.serial for device in devices})
    if unknown:
        errors[field] = f"Unknown devices: {', '.join(sorted(map(str, unknown))[:5])}."
    elif not devices:
        errors[field] = "At least one device is needed."
    return devices


def _drawn(reference: int | None, treated: Sequence[Device], errors: dict[str, str]) -> Assignment | None:
    """The draw of the rollout that the request names: of its stage that treats these devices, else of its first."""
    if reference is None:
        return None
    stages = cohorts().assignments(reference)
    if not stages:
        errors["assignment.rollout"] = f"There is no rollout {reference}, or it has no stage."
        return None
    asked = {device.pk for device in treated}
    return max(stages, key=lambda stage: len(asked & stage.treated))


def _drawn_strata(drawn: Assignment, devices: Sequence[Device], errors: dict[str, str]) -> dict[int, str]:
    """The strata of the draw, inside each device's hardware target."""
    strangers = [device.serial for device in devices if device.pk not in drawn.strata]
    if strangers:
        errors["assignment.rollout"] = (
            f"Not drawn in its stage {drawn.stage}: {', '.join(strangers[:5])}. Give assignment.strata to name their "
            "strata yourself."
        )
    return {device.pk: _labelled(device, [drawn.strata.get(device.pk, "")]) for device in devices}


def _strata(given: Any, devices: Sequence[Device], errors: dict[str, str]) -> dict[int, str]:
    """The stratum of every device, always inside its hardware target.

    Given as names of attributes, as `{device: stratum}`, or as a list of `{"stratum", "devices"}`; left out, the strata
    that the server draws in.
    """
    attributes = given if given and isinstance(given, list) and all(isinstance(name, str) for name in given) else None
    if given is None or attributes is not None:
        unknown = set(attributes or ()) - set(STRATA_ATTRIBUTES)
        if unknown:
            errors["assignment.strata"] = f"Unknown: {', '.join(sorted(unknown))}."
        chosen = [name for name in STRATA_ATTRIBUTES if attributes is None or name in attributes]
        return {device.pk: _labelled(device, [_attribute(device, name) for name in chosen]) for device in devices}
    named: dict[str, str] = {}
    if isinstance(given, Mapping):
        named = {str(device): str(stratum) for device, stratum in given.items()}
    elif isinstance(given, list) and all(isinstance(entry, Mapping) for entry in given):
        for index, entry in enumerate(given):
            label = str(entry.get("stratum", entry.get("name", index)))
            members = [*entry.get("devices", ()), *entry.get("treated_devices", ()), *entry.get("control_devices", ())]
            named |= {str(device): label for device in members}
    else:
        errors["assignment.strata"] = "Give attribute names, {device: stratum}, or [{stratum, devices}]."
    strata = {}
    for device in devices:
        label = named.get(device.serial, named.get(str(device.pk)))
        if label is None and "assignment.strata" not in errors:
            errors["assignment.strata"] = f"Device {device.serial} is in no stratum."
        strata[device.pk] = _labelled(device, [label or ""])
    return strata


def _labelled(device: Device, parts: Sequence[str]) -> str:
    target = device.hardware_target.slug
    return "|".join([target, *(part for part in parts if part != target)])


def _attribute(device: Device, name: str) -> str:
    if name == "hardware_target":
        return device.hardware_target.slug
    return device.region.slug if name == "region" else device.power_source
