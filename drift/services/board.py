"""The fleet-wide drift board: every metric of every release on every hardware target, tested device by device."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from drift.models import Alarm, Evaluation, EvaluationCell, Finding
from drift.periods import device_period
from drift.services.alarms import Sighting
from drift.services.attribution import explain_over_time
from drift.services.concentration import concentration
from drift.services.findings import (
    ALARM_OF_METRIC,
    METRIC_NAMES,
    Margin,
    describe_effect,
    in_margins,
    keep_findings,
    margin_of,
    margins_of,
    new_finding,
    open_evaluation,
    sighting_of,
    worst_per_quantity,
)
from drift.stats.false_discovery import benjamini_hochberg
from drift.stats.metrics import METRICS, Kind, Metric
from drift.stats.paired import MINIMUM_DEVICES, PairedChange, counting_floor, paired_change
from drift.stats.summaries import metric_values
from telemetry.models import ReleaseSpan
from telemetry.selectors import summaries

FALSE_DISCOVERY_RATE = 0.05
# Harm of so many margins is critical.
SEVERE_MARGINS = 3.0
# Devices read at once.
CHUNK = 1_000
RECENT = timedelta(hours=24)
BASELINE = timedelta(days=7)


@dataclass(frozen=True)
class Spans:
    """The two periods that a board compares, both whole hours: the newest day, and the week before it."""

    baseline_start: datetime
    recent_start: datetime
    recent_end: datetime

    @classmethod
    def ending(cls, as_of: datetime) -> "Spans":
        """The spans of a board as of a moment; the running hour is left out."""
        end = as_of.replace(minute=0, second=0, microsecond=0)
        return cls(end - RECENT - BASELINE, end - RECENT, end)

    @property
    def both(self) -> tuple[tuple[datetime, datetime], tuple[datetime, datetime]]:
        """Beginning and end of the week before, and of the newest day."""
        return (self.baseline_start, self.recent_start), (self.recent_start, self.recent_end)


@transaction.atomic
def plan_board(*, now: datetime) -> Evaluation:
    """Write down which cells there are: each release that a hardware target ran within the newest day."""
    spans = Spans.ending(now)
    return open_evaluation(
        Evaluation.Kind.BOARD,
        as_of=spans.recent_end,
        active=(spans.recent_start, spans.recent_end),
        parameters={
            "baseline": [spans.baseline_start.isoformat(), spans.recent_start.isoformat()],
            "recent": [spans.recent_start.isoformat(), spans.recent_end.isoformat()],
            "false_discovery_rate": FALSE_DISCOVERY_RATE,
            "minimum_devices": MINIMUM_DEVICES,
        },
        now=now,
    )


@transaction.atomic
def compute_cell(cell: EvaluationCell) -> list[Finding]:
    """Test every metric of one cell and keep the findings; computing a cell again replaces them."""
    spans = Spans.ending(cell.evaluation.as_of)
    device_ids = device_ids_of(cell, spans)
    metrics = [METRICS[name] for name in METRIC_NAMES]
    margins = margins_of(cell.workload, cell.hardware_target, METRIC_NAMES)
    before, after = (_values(cell, device_ids, metrics, start, end) for start, end in spans.both)
    reporting = int((after["count"] > 0).sum())
    findings = []
    for metric in metrics:
        pre, post = before[metric.name], after[metric.name]
        floor = counting_floor(pre, post, before["count"], after["count"]) if metric.kind is Kind.SHARE else 0.0
        change = paired_change(pre, post, harm=metric.harm, error_floor=floor)
        findings.append(
            _finding(cell, metric, change, margins[metric.name], reporting=reporting, devices=len(device_ids))
        )
    keep_findings(cell, findings, devices=len(device_ids))
    return findings


def _values(
    cell: EvaluationCell | Finding, device_ids: Sequence[int], metrics: Sequence[Metric], start: datetime, end: datetime
) -> dict[str, NDArray[np.float64]]:
    """Each device's value of each metric over [start, end), shape (n,), and its `count` of inferences.

    Some devices at a time: histograms of thousands of them at once would fill a worker's memory for nothing.
    """
    parts: list[dict[str, NDArray[np.float64]]] = []
    for first in range(0, max(len(device_ids), 1), CHUNK):
        period = device_period(
            summaries.device_summaries(
                device_ids[first : first + CHUNK],
                workload_id=cell.workload_id,
                release_ids=(cell.release_id,),
                start=start,
                end=end,
            )
        )
        values = {metric.name: metric_values(period, metric) for metric in metrics}
        parts.append(values | {"count": period.count})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def device_ids_of(cell: EvaluationCell | Finding, spans: Spans) -> list[int]:
    """The devices of a cell: those of its hardware target that ran its release within the newest day."""
    return sorted(
        ReleaseSpan.objects.filter(
            release_id=cell.release_id,
            workload_id=cell.workload_id,
            device__hardware_target_id=cell.hardware_target_id,
            last_time__gte=spans.recent_start,
            first_time__lt=spans.recent_end,
        )
        .order_by()
        .values_list("device_id", flat=True)
        .distinct()
    )


def settle_board(evaluation: Evaluation) -> list[Sighting]:
    """Adjust over all cells once the last one is done, settle the verdicts, and say what deserves an alarm.

    Benjamini-Hochberg holds the share of false discoveries among the alarms. A discovery is an alarm only where the
    effect itself is at least the margin: the budget's where it names the metric, else the metric's own.
    """
    with transaction.atomic():
        findings = list(
            evaluation.findings.select_related("release", "hardware_target", "workload").exclude(p_value=None)
        )
        adjusted = benjamini_hochberg(np.array([finding.p_value for finding in findings]))
        for finding, q_value in zip(findings, adjusted, strict=True):
            finding.q_value = float(q_value)
            finding.verdict, finding.reason = settle(finding)
        Finding.objects.bulk_update(findings, ["q_value", "verdict", "reason"], batch_size=500)
    return sightings(findings, Spans.ending(evaluation.as_of))


def settle(finding: Finding) -> tuple[str, str]:
    """The verdict of an adjusted finding in words: drift, no harm beyond the margin, or left open by its interval.

    That no change is shown is no pass by itself: the 95 % interval must also stay within the margin.
    """
    metric, margin = METRICS[finding.metric], margin_of(finding)
    text, bound = describe_effect(metric, finding.effect), describe_effect(metric, metric.harm * margin)
    shown = finding.q_value is not None and finding.q_value <= FALSE_DISCOVERY_RATE
    if shown and metric.harm * finding.effect >= margin:
        return "fail", (
            f"{metric.title} changed by {text} on {finding.n_treated} devices (q = {finding.q_value:.2g}), beyond the "
            f"margin of {bound}."
        )
    what = f"Measured change of {text}" if shown else f"No change shown: {text} (q = {finding.q_value:.2g})"
    reach = finding.upper if metric.harm > 0 else finding.lower
    if metric.harm * reach < margin or metric.harm * reach <= 0.0:
        return "pass", f"{what}, within the margin of {bound}."
    return "inconclusive", f"{what}, but its interval reaches {describe_effect(metric, reach)}, margin {bound}."


def sightings(findings: Iterable[Finding], spans: Spans) -> list[Sighting]:
    """One alarm per kind, release and hardware target: the metric with the smallest q speaks for its kind."""
    drifting = (finding for finding in findings if finding.verdict == "fail")
    return [_sighting(finding, spans) for finding in worst_per_quantity(drifting, by=lambda found: -found.q_value)]


def _finding(
    cell: EvaluationCell, metric: Metric, change: PairedChange, margin: Margin, *, reporting: int, devices: int
) -> Finding:
    def effect(theta: float | None) -> float | None:
        return None if theta is None else metric.to_effect(theta)

    found = new_finding(cell, metric.name, margin.to_detail())
    found.effect, found.lower, found.upper = effect(change.mean), effect(change.lower), effect(change.upper)
    found.standard_error, found.p_value, found.n_treated = change.standard_error, change.p_value, change.n
    found.completeness = reporting / devices if devices else None
    if change.p_value is None:
        found.reason = (
            f"{change.n} devices with both periods; at least {MINIMUM_DEVICES} are needed."
            if change.n < MINIMUM_DEVICES
            else "Every device changed by exactly the same amount, which no test can weigh."
        )
    return found


def _sighting(finding: Finding, spans: Spans) -> Sighting:
    attribution = explain_over_time(
        device_ids_of(finding, spans),
        finding.metric,
        workload_id=finding.workload_id,
        release_id=finding.release_id,
        start=spans.baseline_start,
        change=spans.recent_start,
        end=spans.recent_end,
    )
    return sighting_of(
        finding,
        kind=ALARM_OF_METRIC[finding.metric],
        severity=Alarm.Severity.CRITICAL if in_margins(finding) >= SEVERE_MARGINS else Alarm.Severity.WARNING,
        started_at=spans.recent_start,
        evidence={
            "evaluation": finding.evaluation_id,
            "q_value": finding.q_value,
            "margin": margin_of(finding),
            "caveat": "Compared with the same devices' own past: this cannot separate environment from model.",
            "spans": {name: moment.isoformat() for name, moment in asdict(spans).items()},
        },
        attribution=attribution or _concentrated(finding, spans),
    )


def _concentrated(finding: Finding, spans: Spans) -> dict[str, Any]:
    """Where the devices are that changed by the margin or more: for metrics that no cells take apart."""
    metric = METRICS[finding.metric]
    device_ids = device_ids_of(finding, spans)
    before, after = (_values(finding, device_ids, [metric], start, end) for start, end in spans.both)
    change = after[metric.name] - before[metric.name]
    delta = metric.from_effect(metric.harm * margin_of(finding))
    hit = [device for device, own in zip(device_ids, change, strict=True) if metric.harm * (own - delta) >= 0.0]
    return concentration(hit, finding.workload_id, device_ids)
