"""Slow drift, day by day: against held-back devices where there are any, else against the devices' own first weeks.

A hold-back gives a difference in differences with the sequential randomisation test, one look a day and one alpha over
all of them. Without one a device-paired CUSUM watches the daily mean; it cannot separate environment from model, and
says so wherever its figures stand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from drift.models import Alarm, Evaluation, EvaluationCell, Finding, HoldBackWatch
from drift.services import looks
from drift.services.alarms import Sighting
from drift.services.attribution import Comparison, explain, explain_over_time
from drift.services.cohorts import DrawnComparison, cohorts
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
from drift.services.watching import DAY, adoption, daily_values, midnight, seed_of, speakers
from drift.stats.cusum import CAVEAT, MINIMUM_BASELINE_DAYS, Cusum, run_cusum, shift
from drift.stats.metrics import METRICS, Metric
from drift.stats.paired import MINIMUM_DEVICES

BASELINE_DAYS = 14
# The limit of a CUSUM is made for so many days after the baseline; then a new baseline begins.
HORIZON_DAYS = 90
RECENT_DAYS = 7
ALPHA = 0.05
HOLD_BACK, CUSUM = "hold_back", "cusum"


@transaction.atomic
def plan(*, now: datetime) -> Evaluation:
    """Write down the cells of a day: each release that a hardware target ran on the last whole day."""
    as_of = midnight(now)
    return open_evaluation(
        Evaluation.Kind.SLOW_DRIFT,
        as_of=as_of,
        active=(as_of - DAY, as_of),
        parameters={
            "alpha": ALPHA,
            "alpha_per_metric": ALPHA / len(METRIC_NAMES),
            "baseline_days": BASELINE_DAYS,
            "horizon_days": HORIZON_DAYS,
            "recent_days": RECENT_DAYS,
            "minimum_devices": MINIMUM_DEVICES,
        },
        now=now,
    )


@transaction.atomic
def compute(cell: EvaluationCell) -> list[Finding]:
    """Every metric of one release on one hardware target; computing a cell again replaces its findings."""
    as_of = cell.evaluation.as_of
    found = next(
        (
            comparison
            for comparison in cohorts().held_back(as_of)
            if comparison.release_id == cell.release_id
            and {device.hardware_target for device in comparison.devices} == {cell.hardware_target.slug}
        ),
        None,
    )
    sizes = [sum(device.treated is arm for device in found.devices) for arm in (True, False)] if found else []
    if found and min(sizes) >= MINIMUM_DEVICES:
        findings, devices = against_hold_back(cell, found), len(found.devices)
    else:
        why = ""
        if found:
            why = f"{sizes[1]} held-back and {sizes[0]} updated devices; {MINIMUM_DEVICES} of each are needed. "
        findings, devices = against_own_past(cell, why)
    keep_findings(cell, findings, devices=devices)
    return findings


# --- against held-back devices --------------------------------------------------------------------------------------


def against_hold_back(cell: EvaluationCell, drawn: DrawnComparison) -> list[Finding]:
    """The next daily look of a release's updated devices against those that stay behind; a day is looked at once."""
    as_of = cell.evaluation.as_of
    last_day = drawn.ends_at or drawn.started_at + timedelta(days=14)
    watch, _ = HoldBackWatch.objects.get_or_create(
        reference=drawn.reference,
        release_id=cell.release_id,
        hardware_target=cell.hardware_target,
        defaults={
            "workload_id": cell.workload_id,
            "started_at": drawn.started_at,
            "planned_looks": max((last_day - drawn.started_at) // DAY, 1),
        },
    )
    watch = HoldBackWatch.objects.select_for_update().get(pk=watch.pk)
    if watch.last_look_at is None or watch.last_look_at < as_of:
        margins = margins_of(cell.workload, cell.hardware_target)
        _look(watch, hold_back_plan(cell, drawn, watch.planned_looks, margins), as_of, margins)
    rows: dict[str, dict[str, Any]] = watch.history[-1]["metrics"]
    return [_hold_back_finding(cell, watch, name, rows.get(name)) for name in METRIC_NAMES]


def hold_back_plan(
    cell: EvaluationCell, drawn: DrawnComparison, planned_looks: int, margins: Mapping[str, Margin]
) -> looks.LookPlan:
    """The comparison as a look takes it: one lane, since each hardware target is watched by itself."""
    return looks.LookPlan(
        workload_id=drawn.workload_id,
        release_id=drawn.release_id,
        baseline_release_ids=(),
        devices=tuple(drawn.devices),
        seed=drawn.seed,
        pre_start=drawn.pre_start,
        pre_end=drawn.pre_end,
        started_at=drawn.started_at,
        window=DAY,
        planned_looks=planned_looks,
        alpha=ALPHA,
        randomised=drawn.randomised,
        margins={cell.hardware_target.slug: {name: margin.value for name, margin in margins.items()}},
        metrics=METRIC_NAMES,
        shapes=(),
        described=(),
    )


def _look(watch: HoldBackWatch, plan_: looks.LookPlan, as_of: datetime, margins: Mapping[str, Margin]) -> None:
    outcome = looks.take_look(plan_, watch.look_state, as_of, look=watch.looks + 1)
    kept = (
        "verdict", "effect", "lower", "upper", "standard_error", "n_treated", "n_control", "reason",
    )  # fmt: skip
    metrics = {
        row["metric"]: {name: row[name] for name in kept} | margins[row["metric"]].to_detail()
        for row in outcome.lanes[0]["metrics"]
    }
    watch.history = [*watch.history, {"as_of": as_of.isoformat(), "metrics": metrics}]
    watch.looks, watch.last_look_at, watch.look_state = watch.looks + 1, as_of, outcome.state
    watch.save(update_fields=["history", "looks", "last_look_at", "look_state"])


def _hold_back_finding(cell: EvaluationCell, watch: HoldBackWatch, name: str, row: dict[str, Any] | None) -> Finding:
    detail = {
        "method": HOLD_BACK,
        "reference": watch.reference,
        "looks": [
            {"as_of": look["as_of"], **{part: look["metrics"].get(name, {}).get(part) for part in _SHOWN}}
            for look in watch.history
        ],
        "planned_looks": watch.planned_looks,
        "started_at": watch.started_at.isoformat(),
        "margin": row["margin"] if row else METRICS[name].margin,
        "margin_budget": row.get("margin_budget") if row else None,
    }
    found = new_finding(cell, name, detail)
    if row is None:
        found.reason = f"{METRICS[name].title} was not recorded by enough devices."
        return found
    for field in ("verdict", "effect", "lower", "upper", "standard_error", "reason"):
        setattr(found, field, row[field])
    found.n_treated, found.n_control = row["n_treated"] or 0, row["n_control"] or 0
    return found


_SHOWN = ("verdict", "effect", "lower", "upper", "n_treated", "n_control")


# --- against the devices' own past ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Episode:
    """A baseline and the days watched after it, all whole days (UTC); `end` is the day not yet over."""

    start: datetime
    end: datetime

    @classmethod
    def at(cls, begun: datetime, as_of: datetime) -> "Episode":
        """The episode that runs at a moment, of a release that began to run at another: they follow one another."""
        length = (BASELINE_DAYS + HORIZON_DAYS) * DAY
        return cls(begun + max((as_of - begun) // length, 0) * length, as_of)

    @property
    def days(self) -> int:
        """Whole days so far."""
        return max((self.end - self.start) // DAY, 0)

    @property
    def monitored(self) -> int:
        """Whole days after the baseline."""
        return max(self.days - BASELINE_DAYS, 0)


def against_own_past(cell: EvaluationCell, why: str = "") -> tuple[list[Finding], int]:
    """Watch the daily mean of the devices that took part in the baseline; returns findings and devices watched.

    `why` says in front of each reason why there is no hold-back to compare with.
    """
    as_of = cell.evaluation.as_of
    ran = adoption(cell, as_of)
    # From the day after half of today's devices ran it: earlier, the mean would be of the few that came first.
    firsts = sorted(first for first, _ in ran.values())
    begun = midnight(firsts[(len(firsts) - 1) // 2]) + DAY if firsts else as_of
    episode = Episode.at(begun, as_of)
    settled = [device for device, (first, _) in ran.items() if first < episode.start + BASELINE_DAYS // 2 * DAY]
    chosen = speakers(settled)
    values = (
        daily_values(chosen, METRIC_NAMES, cell=cell, start=episode.start, end=episode.end)
        if episode.monitored and chosen
        else {}
    )
    margins = margins_of(cell.workload, cell.hardware_target)
    return [
        _own_past_finding(cell, episode, METRICS[name], values.get(name), len(settled), margins[name], why)
        for name in METRIC_NAMES
    ], len(chosen)


def _own_past_finding(
    cell: EvaluationCell,
    episode: Episode,
    metric: Metric,
    values: NDArray[np.float64] | None,
    devices: int,
    margin: Margin,
    why: str,
) -> Finding:
    finding = new_finding(
        cell,
        metric.name,
        {
            "method": CUSUM,
            "caveat": CAVEAT,
            "baseline_from": episode.start.isoformat(),
            "baseline_days": BASELINE_DAYS,
            "horizon_days": HORIZON_DAYS,
            "devices": 0 if values is None else len(values),
            "devices_in_all": devices,
            **margin.to_detail(),
        },
    )
    if values is None:
        begins = episode.start + BASELINE_DAYS * DAY
        finding.reason = why + (
            f"{episode.days} of {BASELINE_DAYS} baseline days are over; days are watched from {begins:%d %B} on."
            if episode.monitored == 0
            else "No device ran the release through the baseline."
        )
        return finding
    half = (BASELINE_DAYS + 1) // 2
    usable = values[np.isfinite(values[:, :BASELINE_DAYS]).sum(axis=1) >= half]
    finding.n_treated = len(usable)
    if len(usable) < MINIMUM_DEVICES:
        finding.reason = why + (
            f"{len(usable)} devices have {metric.title.lower()} on half of the baseline's days; "
            f"{MINIMUM_DEVICES} are needed."
        )
        return finding
    run = run_cusum(
        usable,
        baseline_days=BASELINE_DAYS,
        harm=metric.harm,
        alpha=ALPHA / len(METRIC_NAMES),
        rng=np.random.default_rng(seed_of(cell.release_id, cell.hardware_target_id, metric.name, episode.start)),
        horizon=HORIZON_DAYS,
    )
    _describe(finding, run, episode, metric, margin.value, why)
    return finding


def _describe(finding: Finding, run: Cusum, episode: Episode, metric: Metric, margin: float, why: str) -> None:
    """Write a CUSUM's numbers and its verdict into a finding."""
    days = [episode.start + day * DAY for day in range(episode.days)]
    now = shift(run, BASELINE_DAYS, RECENT_DAYS)

    def effect(theta: float) -> float | None:
        return metric.to_effect(theta) if np.isfinite(theta) else None

    finding.effect, finding.lower, finding.upper = effect(now.mean), effect(now.lower), effect(now.upper)
    finding.standard_error = now.standard_error if np.isfinite(now.standard_error) else None
    started = None if run.started_day is None else days[BASELINE_DAYS + run.started_day]
    crossed = None if run.alarm_day is None else days[BASELINE_DAYS + run.alarm_day]
    finding.detail |= {
        "days": [day.date().isoformat() for day in days],
        "change": [effect(change) for change in run.change],
        "path": [float(level) for level in run.path],
        "limit": run.limit if np.isfinite(run.limit) else None,
        "correlation": run.correlation,
        "cautious_correlation": run.cautious_correlation,
        "started_at": started.isoformat() if started else None,
        "crossed_at": crossed.isoformat() if crossed else None,
    }
    seen = np.isfinite(run.change[:BASELINE_DAYS]).sum()
    if not np.isfinite(run.limit):
        finding.reason = why + (
            f"{seen} of {BASELINE_DAYS} baseline days have data; {MINIMUM_BASELINE_DAYS} are needed."
            if seen < MINIMUM_BASELINE_DAYS
            else "The baseline never varied from day to day, so that there is nothing to measure a change by."
        )
        return
    if not np.isfinite(run.change[-1]):
        finding.reason = why + "No device reported on the last day: what is not heard is not known to be well."
        return
    text = describe_effect(metric, finding.effect)
    bound = describe_effect(metric, metric.harm * margin)
    if crossed is None:
        # under the limit is not yet well: the last week itself must be shown to lie within the margin
        reach = finding.upper if metric.harm > 0 else finding.lower
        told = f"possibly {describe_effect(metric, reach)}, margin {bound}"
        if metric.harm * reach < margin:
            finding.verdict, told = "pass", f"within the margin of {bound}"
        finding.reason = why + (f"Within its limit after {episode.monitored} days: {text} over the last week, {told}.")
        return
    beyond = metric.harm * finding.effect >= margin
    finding.verdict = "fail" if beyond else "hold"
    finding.reason = why + (
        f"Over its limit since {crossed:%d %B}, drifting since about {started:%d %B}: {text} over the last week, "
        f"{'beyond' if beyond else 'within'} the margin of {bound}. "
        f"This {CAVEAT}."
    )


# --- alarms ---------------------------------------------------------------------------------------------------------


def sightings(evaluation: Evaluation) -> list[Sighting]:
    """One alarm per kind of quantity, release and hardware target that drifts; the largest in margins speaks for it."""
    drifting = evaluation.findings.filter(verdict__in=("fail", "hold"), effect__isnull=False)
    shown = [row for row in drifting.select_related("workload", "release", "hardware_target") if _shown(row)]
    return [_sighting(finding, evaluation.as_of) for finding in worst_per_quantity(shown)]


def _shown(finding: Finding) -> bool:
    """Whether harm is shown: over the limit of its CUSUM, or rejected with harm by the test against the hold-back."""
    if finding.detail["method"] == CUSUM:
        return True
    return finding.verdict == "fail"


def _sighting(finding: Finding, as_of: datetime) -> Sighting:
    detail = finding.detail
    controlled = detail["method"] == HOLD_BACK
    started = datetime.fromisoformat(detail["started_at"])
    return sighting_of(
        finding,
        words=" against held-back devices" if controlled else " over its own past",
        kind=Alarm.Kind.SLOW_DRIFT,
        severity=Alarm.Severity.WARNING if finding.verdict == "fail" else Alarm.Severity.INFO,
        started_at=started,
        # one alarm per quantity, whichever of its metrics is the worst today
        about=str(ALARM_OF_METRIC[finding.metric]),
        evidence={
            "evaluation": finding.evaluation_id,
            "finding": finding.pk,
            "method": detail["method"],
            "reason": finding.reason,
            **({} if controlled else {"caveat": f"Compared with the same devices' own past: this {CAVEAT}."}),
        },
        attribution=_attribution(finding, started, as_of),
    )


def _attribution(finding: Finding, started: datetime, as_of: datetime) -> dict[str, Any] | None:
    """Where the change lies among recorded conditions; None where the quantity cannot be taken apart."""
    if finding.detail["method"] == HOLD_BACK:
        drawn = cohorts().held_back(as_of)
        found = next((d for d in drawn if d.reference == finding.detail["reference"]), None)
        if found is None:
            return None
        arms: dict[bool, Sequence[int]] = {
            arm: [device.device_id for device in found.devices if device.treated is arm] for arm in (True, False)
        }
        return explain(
            Comparison(
                workload_id=finding.workload_id,
                release_id=finding.release_id,
                treated=arms[True],
                control=arms[False],
                pre_start=found.pre_start,
                started_at=found.started_at,
                as_of=as_of,
                seed=found.seed % 2**31,
            ),
            finding.metric,
        )
    cell = EvaluationCell(
        workload_id=finding.workload_id, release_id=finding.release_id, hardware_target_id=finding.hardware_target_id
    )
    return explain_over_time(
        speakers(list(adoption(cell, as_of))),
        finding.metric,
        workload_id=finding.workload_id,
        release_id=finding.release_id,
        start=datetime.fromisoformat(finding.detail["baseline_from"]),
        change=started,
        end=as_of,
    )
