"""The rollout engine run over stored history: what would this policy have said, look by look?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from drift.models import Retrospective
from drift.models.evaluations import Progress
from drift.periods import Arm, Periods
from drift.services.attribution import explain_outcome
from drift.services.looks import (
    RECENT_WINDOWS,
    LookPlan,
    PlanDevice,
    look_at,
    pre_period,
    read_arms,
    releases_read,
)
from drift.stats.metrics import METRICS
from drift.version import code_version
from fleet.exceptions import InvalidInput
from fleet.models import Device, Release, User, Workload
from fleet.models.budgets import Limit
from telemetry.selectors import summaries
from telemetry.services.folding import fold

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
    assignment = request.get("assignment") or {}
    pre_start, pre_end = pre_period(schedule.started_at)
    if request.get("pre"):
        pre_start, pre_end = request["pre"]["from"], request["pre"]["to"]
        if not pre_start < pre_end <= schedule.started_at:
            errors["pre"] = "Must end after it begins, and not after started_at."
    targets = {device.hardware_target.slug for group in devices.values() for device in group}
    margins, limits = budget_of(request.get("budget") or {}, targets, errors)
    strata = _strata(assignment.get("strata"), [*devices["treated"], *devices["control"]], errors)
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
        seed=assignment.get("seed") or 0,
        randomised=assignment.get("seed") is not None,
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
    )
    return plan, schedule


def run(plan: LookPlan, schedule: Schedule, *, progress: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
    """Every look in order, each knowing only what was recorded before it; `progress` hears how many are done."""
    windows = _windows(plan, schedule)
    baseline = read_arms(plan, plan.pre_start, plan.pre_end, treated_release=False)
    looks: list[dict[str, Any]] = []
    state: dict[str, Any] | None = None
    cumulative: Periods | None = None
    for index, as_of in enumerate(schedule.times):
        cumulative = windows[index] if cumulative is None else merge(cumulative, windows[index])
        recent = None
        if index >= RECENT_WINDOWS:
            recent = windows[index - RECENT_WINDOWS + 1]
            for window in windows[index - RECENT_WINDOWS + 2 : index + 1]:
                recent = merge(recent, window)
        outcome = look_at(plan, baseline, cumulative, recent, look=index + 1, as_of=as_of, state=state)
        state = outcome.state
        result = outcome.result.to_dict()
        looks.append(
            {
                "look": index + 1,
                "as_of": as_of.isoformat(),
                "verdict": outcome.verdict,
                "reason": outcome.reason,
                "lanes": result["lanes"],
                "pooled": result["pooled"],
                "shape": [
                    {"hardware_target": lane["hardware_target"], **row}
                    for lane in result["lanes"]
                    for row in lane["shape"]
                ],
                "attribution": explain_outcome(plan, outcome, as_of),
                "completeness": outcome.completeness,
            }
        )
        progress(index + 1)
    return {"randomised": plan.randomised, "looks": looks}


def merge(left: Periods, right: Periods) -> Periods:
    """Two periods of the same devices as one."""
    return Periods(
        left.size,
        tuple(
            Arm(one.positions, one.summary + other.summary) for one, other in zip(left.arms, right.arms, strict=True)
        ),
    )


def execute(
    request: Mapping[str, Any], *, user: User | None, now: datetime, clock: Callable[[], datetime]
) -> Retrospective:
    """Run a retrospective at once and keep it with its result."""
    plan, schedule = plan_of(request)
    fold(now)
    kept = Retrospective.objects.create(
        request=describe(request),
        status=Progress.RUNNING,
        looks_total=len(schedule.times),
        code_version=code_version(),
        created_by=user,
        created_at=now,
    )
    try:
        result = run(
            plan, schedule, progress=lambda done: Retrospective.objects.filter(pk=kept.pk).update(looks_done=done)
        )
    except Exception as failure:
        Retrospective.objects.filter(pk=kept.pk).update(
            status=Progress.FAILED, error=f"{type(failure).__name__}: {failure}", finished_at=clock()
        )
        raise
    kept.status, kept.result, kept.looks_done, kept.finished_at = Progress.DONE, result, len(result["looks"]), clock()
    kept.save(update_fields=["status", "result", "looks_done", "finished_at"])
    return kept


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


def _windows(plan: LookPlan, schedule: Schedule) -> list[Periods]:
    """What each arm recorded between one look and the next, oldest first."""
    arms = []
    for positions, new in zip(plan.arms, (True, False), strict=True):
        read = summaries.device_summary_windows(
            [plan.devices[position].device_id for position in positions],
            workload_id=plan.workload_id,
            start=schedule.started_at,
            end=schedule.times[-1],
            window=schedule.every,
            **releases_read(plan, new=new),
        )
        arms.append([Arm(positions, summary) for summary in read])
    return [Periods(len(plan.devices), pair) for pair in zip(*arms, strict=True)]


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
