"""Creep: what the releases since the anchor took together, though each step stayed within its margin."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Min

from drift.models import Alarm, CreepAnchor, Evaluation, EvaluationCell, Finding
from drift.periods import device_period
from drift.services.alarms import Sighting
from drift.services.findings import (
    ALARM_OF_METRIC,
    METRIC_NAMES,
    Margin,
    describe_effect,
    keep_findings,
    margins_of,
    new_finding,
    open_evaluation,
    sighting_of,
    worst_per_quantity,
)
from drift.services.watching import DAY, adoption, midnight, speakers
from drift.stats.creep import Creep, Step, creep, measure_step
from drift.stats.metrics import METRICS, Kind, Metric
from drift.stats.paired import MINIMUM_DEVICES, counting_floor
from drift.stats.summaries import DevicePeriod, metric_values
from fleet.actors import Actor
from fleet.exceptions import InvalidInput
from fleet.models import Release, User, Workload
from fleet.services import audit
from telemetry.models import ReleaseSpan
from telemetry.selectors import summaries

# Days before and after an update in which a device's values count for the step.
STEP_DAYS = 7
# A chain longer than this begins at the release so many steps back: beyond it the hardware has changed as well.
STEPS_AT_MOST = 20
CAVEAT = "steps without control devices cannot separate environment from releases"


@transaction.atomic
def plan(*, now: datetime) -> Evaluation:
    """Write down the cells of a day: each release that a hardware target ran on the last whole day."""
    as_of = midnight(now)
    return open_evaluation(
        Evaluation.Kind.CREEP,
        as_of=as_of,
        active=(as_of - DAY, as_of),
        parameters={
            "step_days": STEP_DAYS,
            "minimum_devices": MINIMUM_DEVICES,
            "anchors": {
                anchor.workload.slug: anchor.release.version
                for anchor in CreepAnchor.objects.select_related("workload", "release")
            },
        },
        now=now,
    )


@transaction.atomic
def compute(cell: EvaluationCell) -> list[Finding]:
    """Sum the steps from the anchor to the cell's release; computing a cell again replaces its findings."""
    as_of = cell.evaluation.as_of
    chain = chain_of(cell, as_of)
    steps = [_step(cell, old, new, as_of) for old, new in zip(chain, chain[1:], strict=False)]
    margins = margins_of(cell.workload, cell.hardware_target)
    findings = [_finding(cell, METRICS[name], chain, steps, margins[name]) for name in METRIC_NAMES]
    keep_findings(cell, findings, devices=max((step.devices for step in steps), default=0))
    return findings


def chain_of(cell: EvaluationCell, as_of: datetime) -> list[Release]:
    """The releases that the hardware target came by, oldest first, from the anchor to the cell's release.

    In the order in which they were first run there. A release that fewer than six devices ever ran is no step: nobody
    could measure it. Without an anchor, or where the anchor never ran there, the chain begins with the oldest release.
    """
    first = {
        release_id: time
        for release_id, time, devices in _first_runs(cell, as_of)
        if devices >= MINIMUM_DEVICES or release_id == cell.release_id
    }
    order = sorted(first, key=lambda release_id: (first[release_id], release_id))
    order = order[: order.index(cell.release_id) + 1] if cell.release_id in first else []
    anchor = CreepAnchor.objects.filter(workload=cell.workload_id).values_list("release_id", flat=True).first()
    if anchor in order:
        order = order[order.index(anchor) :]
    releases = Release.objects.in_bulk(order)
    return [releases[release_id] for release_id in order[-STEPS_AT_MOST - 1 :]]


def _first_runs(cell: EvaluationCell, as_of: datetime) -> list[tuple[int, datetime, int]]:
    """Release, time of its first record on the cell's hardware target, and how many devices ran it."""
    rows = (
        ReleaseSpan.objects.filter(
            workload_id=cell.workload_id, device__hardware_target_id=cell.hardware_target_id, first_time__lt=as_of
        )
        .order_by()
        .values_list("release_id", "device_id")
        .annotate(first=Min("first_time"))
    )
    found: dict[int, tuple[datetime, int]] = {}
    for release_id, _, first in rows:
        time, devices = found.get(release_id, (first, 0))
        found[release_id] = (min(time, first), devices + 1)
    return [(release_id, time, devices) for release_id, (time, devices) in found.items()]


@dataclass(frozen=True)
class MeasuredStep:
    """One release against the one before on the devices that ran both, metric by metric; None where too few have it."""

    old: Release
    new: Release
    devices: int
    steps: dict[str, Step | None]


def _step(cell: EvaluationCell, old: Release, new: Release, as_of: datetime) -> MeasuredStep:
    """Measure a step: the last week before each update against the first after it, less what others did meanwhile."""
    before, after = (
        adoption(EvaluationCell(workload=cell.workload, release=release, hardware_target=cell.hardware_target), as_of)
        for release in (old, new)
    )
    moved = speakers([device for device in after if device in before and before[device][0] < after[device][0]])
    if not moved:
        return MeasuredStep(old, new, 0, dict.fromkeys(METRIC_NAMES))
    updates = sorted(after[device][0] for device in moved)
    start = midnight(updates[0]) - STEP_DAYS * DAY
    end = min(midnight(updates[-1]) + (STEP_DAYS + 1) * DAY, as_of)
    # Devices that ran the old release from before the first update until after the last one tell what else changed.
    stayed = speakers(
        [
            device
            for device, (first, last) in before.items()
            if device not in after and first < updates[0] and last > updates[-1]
        ]
    )

    def read(devices: list[int], release: Release, since: datetime, until: datetime) -> DevicePeriod:
        return device_period(
            summaries.device_summaries(
                devices, workload_id=cell.workload_id, release_ids=(release.pk,), start=since, end=until
            )
        )

    spans = [(read(moved, old, start, end), read(moved, new, start, end))]
    if len(stayed) >= MINIMUM_DEVICES and end > midnight(updates[-1]) + DAY:
        spans.append(
            (read(stayed, old, start, midnight(updates[0])), read(stayed, old, midnight(updates[-1]) + DAY, end))
        )
    steps = {}
    for name in METRIC_NAMES:
        metric = METRICS[name]
        values = [[metric_values(period, metric) for period in periods] for periods in spans]
        arms = [
            dict(zip(devices, (after - before).tolist(), strict=True))
            for devices, (before, after) in zip((moved, stayed), values, strict=False)
        ]
        counts = (period.count for period in spans[0])
        floor = counting_floor(*values[0], *counts) if metric.kind is Kind.SHARE else 0.0
        steps[name] = measure_step(new.version, *arms, harm=metric.harm, error_floor=floor)
    return MeasuredStep(old, new, len(moved), steps)


def _finding(
    cell: EvaluationCell, metric: Metric, chain: list[Release], steps: list[MeasuredStep], margin: Margin
) -> Finding:
    def effect(theta: float | None) -> float | None:
        return None if theta is None else metric.to_effect(metric.harm * theta)

    rows: list[dict[str, Any]] = []
    known: list[Step] = []
    for step in steps:
        measured = step.steps[metric.name]
        row = {
            "release": step.new.version,
            "against": step.old.version,
            "devices": measured.n if measured else 0,
            "control": measured.control if measured else 0,
            "effect": effect(measured.theta) if measured else None,
            "standard_error": measured.standard_error if measured else None,
        }
        if measured:
            known.append(measured)
        # beyond the first gap there is no sum
        so_far = creep(known) if len(known) == len(rows) + 1 else None
        rows.append(row | {"sum": _sum(metric, so_far) if so_far else None})
    summed = creep(known) if len(known) == len(steps) else None
    found = new_finding(
        cell,
        metric.name,
        {
            "method": "creep",
            "anchor": chain[0].version if chain else None,
            **margin.to_detail(),
            "steps": rows,
            "largest": summed.largest.release if summed else None,
            "caveat": CAVEAT if any(row["control"] == 0 for row in rows) else "",
        },
    )
    found.baseline_release = chain[0] if len(chain) > 1 else None
    if len(chain) < 2:
        found.reason = "This is the anchor: no release since it to sum up."
        return found
    if summed is None:
        missing = next(row for row in rows if row["effect"] is None)
        found.reason = (
            f"The step from {missing['against']} to {missing['release']} was not measured: at least {MINIMUM_DEVICES} "
            f"devices must have {metric.title.lower()} on both. A gap is not bridged by zero."
        )
        return found
    found.n_treated = min(row["devices"] for row in rows)
    found.standard_error = summed.standard_error
    found.effect, found.lower, found.upper = _sum(metric, summed)
    found.verdict, found.reason = settle(metric, summed, margin.value, chain[0].version, len(steps))
    return found


def _sum(metric: Metric, summed: Creep) -> list[float]:
    """Effect, lower and upper end of a sum in the metric's direction, in effect units."""
    ends = sorted((metric.harm * summed.lower, metric.harm * summed.upper))
    return [metric.to_effect(theta) for theta in (metric.harm * summed.theta, *ends)]


def settle(metric: Metric, summed: Creep, margin: float, anchor: str, steps: int) -> tuple[str, str]:
    """The verdict of a sum in words: beyond its margin, shown to be within it, or neither."""
    delta = metric.harm * metric.from_effect(metric.harm * margin)
    total = describe_effect(metric, metric.to_effect(metric.harm * summed.theta))
    bound = describe_effect(metric, metric.harm * margin)
    largest = describe_effect(metric, metric.to_effect(metric.harm * summed.largest.theta))
    words = f"{total} since {anchor} in {steps} step{'s' if steps != 1 else ''}"
    if summed.beyond(delta):
        return "fail", f"{words}, beyond the margin of {bound}, though no step alone was: the largest took {largest}."
    if summed.lower > 0.0 and summed.theta >= delta:
        return "fail", f"{words}, beyond the margin of {bound}; {summed.largest.release} alone took {largest}."
    if summed.upper < delta:
        return "pass", f"{words}, within the margin of {bound}."
    return "inconclusive", f"{words}: the interval reaches over the margin of {bound}."


def sightings(evaluation: Evaluation) -> list[Sighting]:
    """One alarm per kind of quantity, release and hardware target whose sum is beyond its margin."""
    beyond = evaluation.findings.filter(verdict="fail").select_related("workload", "release", "hardware_target")
    return [_sighting(finding) for finding in worst_per_quantity(beyond)]


def _sighting(finding: Finding) -> Sighting:
    detail = finding.detail
    first = (
        ReleaseSpan.objects.filter(
            release_id=finding.release_id, device__hardware_target_id=finding.hardware_target_id
        ).aggregate(first=Min("first_time"))["first"]
        or finding.evaluation.as_of
    )
    return sighting_of(
        finding,
        words=f" since {detail['anchor']}",
        kind=Alarm.Kind.RELEASE_CREEP,
        severity=Alarm.Severity.WARNING,
        started_at=first,
        about=str(ALARM_OF_METRIC[finding.metric]),
        evidence={
            "evaluation": finding.evaluation_id,
            "finding": finding.pk,
            "reason": finding.reason,
            "steps": detail["steps"],
            "caveat": detail["caveat"],
        },
        attribution=_by_step(METRICS[finding.metric], finding),
    )


def _by_step(metric: Metric, finding: Finding) -> dict[str, Any]:
    """Which step took how much of the sum, as the alarm's page reads attributions."""
    steps = finding.detail["steps"]
    thetas = [metric.harm * metric.from_effect(step["effect"]) for step in steps]
    total = sum(thetas)
    readings = [
        {
            "cause": "release",
            "words": f"{step['release']} after {step['against']}: {describe_effect(metric, step['effect'])}",
            "share": theta / total if total else None,
        }
        for step, theta in zip(steps, thetas, strict=True)
    ]
    return {
        "metric": metric.name,
        "readings": sorted(readings, key=lambda reading: -(reading["share"] or 0.0)),
        "caveat": finding.detail["caveat"] or "Shares of the sum by release; they name no cause inside a release.",
    }


@transaction.atomic
def set_anchor(workload: Workload, release: Release, *, reason: str, user: User, now: datetime) -> CreepAnchor:
    """Make a release the one that later ones are summed up against; the sum begins anew from it.

    Raises InvalidInput without a reason, or for a release of another workload or a draft.
    """
    errors = {}
    if release.workload_id != workload.pk:
        errors["release"] = f"{release.version} is no release of {workload.slug}."
    elif release.status == Release.Status.DRAFT:
        errors["release"] = "A draft never ran and cannot be an anchor."
    if not reason.strip():
        errors["reason"] = "Say why what came before is accepted."
    if errors:
        raise InvalidInput(errors)
    before = CreepAnchor.objects.filter(workload=workload).select_related("release").first()
    anchor, _ = CreepAnchor.objects.update_or_create(
        workload=workload,
        defaults={"release": release, "reason": reason.strip(), "set_by": user, "set_at": now},
    )
    audit.record(
        actor=Actor.of_user(user),
        action="anchor.set",
        obj=anchor,
        old={"release": before.release.version if before else None},
        new={"release": release.version},
        reason=reason.strip(),
        now=now,
    )
    return anchor
