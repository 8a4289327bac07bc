"""The fleet-wide drift board: every metric of every release on every hardware target, tested device by device."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import F
from numpy.typing import NDArray

from drift.models import Alarm, Evaluation, EvaluationCell, Finding
from drift.models.evaluations import Progress
from drift.periods import device_period
from drift.services.alarms import Sighting
from drift.services.attribution import explain_over_time
from drift.services.concentration import concentration
from drift.stats.false_discovery import benjamini_hochberg
from drift.stats.metrics import METRICS, Metric
from drift.stats.paired import MINIMUM_DEVICES, PairedChange, paired_change
from drift.stats.summaries import metric_values
from drift.version import code_version
from telemetry.models import ReleaseSpan
from telemetry.selectors import summaries

FALSE_DISCOVERY_RATE = 0.05
# Devices read at once.
CHUNK = 1_000
RECENT = timedelta(hours=24)
BASELINE = timedelta(days=7)

# What the board watches, and the alarm that a finding above its margin raises.
ALARM_OF_METRIC: dict[str, str] = {
    "latency_p50": Alarm.Kind.LATENCY_DRIFT,
    "latency_p95": Alarm.Kind.LATENCY_DRIFT,
    "energy_mean": Alarm.Kind.ENERGY_DRIFT,
    "confidence_mean": Alarm.Kind.CONFIDENCE_DROP,
    "fallback_cpu_rate": Alarm.Kind.CPU_FALLBACK,
    "accelerator_utilization": Alarm.Kind.OCCUPANCY_DROP,
    "throttled_share": Alarm.Kind.THERMAL_SOAK,
}


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
    evaluation = Evaluation.objects.create(
        kind=Evaluation.Kind.BOARD,
        status=Progress.RUNNING,
        as_of=spans.recent_end,
        parameters={
            "baseline": [spans.baseline_start.isoformat(), spans.recent_start.isoformat()],
            "recent": [spans.recent_start.isoformat(), spans.recent_end.isoformat()],
            "metrics": list(ALARM_OF_METRIC),
            "false_discovery_rate": FALSE_DISCOVERY_RATE,
            "minimum_devices": MINIMUM_DEVICES,
        },
        code_version=code_version(),
        started_at=now,
    )
    add_cells(evaluation, spans.recent_start, spans.recent_end)
    return evaluation


def add_cells(evaluation: Evaluation, start: datetime, end: datetime) -> None:
    """One cell for each release that a hardware target ran within [start, end)."""
    active = (
        ReleaseSpan.objects.filter(last_time__gte=start, first_time__lt=end)
        .order_by()
        .values("workload_id", "release_id", hardware_target_id=F("device__hardware_target_id"))
        .distinct()
    )
    EvaluationCell.objects.bulk_create([EvaluationCell(evaluation=evaluation, **cell) for cell in active])


@transaction.atomic
def compute_cell(cell: EvaluationCell) -> list[Finding]:
    """Test every metric of one cell and keep the findings; computing a cell again replaces them."""
    spans = Spans.ending(cell.evaluation.as_of)
    device_ids = device_ids_of(cell, spans)
    metrics = [METRICS[name] for name in ALARM_OF_METRIC]
    before, after = (_values(cell, device_ids, metrics, start, end) for start, end in spans.both)
    Finding.objects.filter(
        evaluation=cell.evaluation_id, release=cell.release_id, hardware_target=cell.hardware_target_id
    ).delete()
    reporting = int(after["reporting"].sum())
    findings = [
        _finding(
            cell,
            metric,
            paired_change(before[metric.name], after[metric.name], harm=metric.harm),
            reporting=reporting,
            devices=len(device_ids),
        )
        for metric in metrics
    ]
    Finding.objects.bulk_create(findings)
    EvaluationCell.objects.filter(pk=cell.pk).update(status=Progress.DONE, devices=len(device_ids), error="")
    return findings


def _values(
    cell: EvaluationCell | Finding, device_ids: Sequence[int], metrics: Sequence[Metric], start: datetime, end: datetime
) -> dict[str, NDArray[np.float64]]:
    """Each device's value of each metric over [start, end), shape (n,), and `reporting`: whether it sent anything.

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
        parts.append(values | {"reporting": period.count > 0})
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
    effect itself is at least the metric's margin.
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
    """The verdict of an adjusted finding: drift, change within its margin, or no change shown, in words."""
    metric = METRICS[finding.metric]
    text = describe_effect(metric, finding.effect)
    if finding.q_value is not None and finding.q_value <= FALSE_DISCOVERY_RATE:
        if metric.harm * finding.effect >= metric.margin:
            return (
                "fail",
                f"{metric.title} changed by {text} on {finding.n_treated} devices (q = {finding.q_value:.2g}).",
            )
        return "pass", f"Measured change of {text}, within the margin of {describe_effect(metric, metric.margin)}."
    return "pass", f"No change shown: {text} (q = {finding.q_value:.2g})."


def describe_effect(metric: Metric, effect: float) -> str:
    """An effect with its unit, signed: `+3.1 %` for ratios, `+0.4 points` for shares, `-0.02` else."""
    if metric.relative:
        return f"{100 * effect:+.1f} %"
    return f"{100 * effect:+.2f} points" if metric.unit == "share" else f"{effect:+.3g}"


def sightings(findings: Iterable[Finding], spans: Spans) -> list[Sighting]:
    """One alarm per kind, release and hardware target: the metric with the smallest q speaks for its kind."""
    worst: dict[tuple, Finding] = {}
    for finding in findings:
        if finding.verdict != "fail":
            continue
        key = (ALARM_OF_METRIC[finding.metric], finding.release_id, finding.hardware_target_id)
        if key not in worst or finding.q_value < worst[key].q_value:
            worst[key] = finding
    return [_sighting(kind, finding, spans) for (kind, *_), finding in worst.items()]


def _finding(cell: EvaluationCell, metric: Metric, change: PairedChange, *, reporting: int, devices: int) -> Finding:
    def effect(theta: float | None) -> float | None:
        return None if theta is None else metric.to_effect(theta)

    reason = ""
    if change.p_value is None:
        reason = (
            f"{change.n} devices with both periods; at least {MINIMUM_DEVICES} are needed."
            if change.n < MINIMUM_DEVICES
            else "Every device changed by exactly the same amount, which no test can weigh."
        )
    return Finding(
        evaluation_id=cell.evaluation_id,
        workload_id=cell.workload_id,
        release_id=cell.release_id,
        hardware_target_id=cell.hardware_target_id,
        metric=metric.name,
        verdict="inconclusive",
        effect=effect(change.mean),
        lower=effect(change.lower),
        upper=effect(change.upper),
        standard_error=change.standard_error,
        p_value=change.p_value,
        n_treated=change.n,
        completeness=reporting / devices if devices else None,
        reason=reason,
    )


def _sighting(kind: str, finding: Finding, spans: Spans) -> Sighting:
    metric = METRICS[finding.metric]
    severe = metric.harm * finding.effect >= 3 * metric.margin
    attribution = explain_over_time(
        device_ids_of(finding, spans),
        finding.metric,
        workload_id=finding.workload_id,
        release_id=finding.release_id,
        start=spans.baseline_start,
        change=spans.recent_start,
        end=spans.recent_end,
    )
    return Sighting(
        kind=kind,
        severity=Alarm.Severity.CRITICAL if severe else Alarm.Severity.WARNING,
        summary=(
            f"{metric.title} {describe_effect(metric, finding.effect)} on {finding.hardware_target.slug} "
            f"with {finding.workload.slug} {finding.release.version}"
        ),
        started_at=spans.recent_start,
        workload_id=finding.workload_id,
        release_id=finding.release_id,
        hardware_target_id=finding.hardware_target_id,
        metric=finding.metric,
        effect=finding.effect,
        lower=finding.lower,
        upper=finding.upper,
        devices_affected=finding.n_treated,
        evidence={
            "evaluation": finding.evaluation_id,
            "q_value": finding.q_value,
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
    delta = metric.from_effect(metric.harm * metric.margin)
    hit = [device for device, own in zip(device_ids, change, strict=True) if metric.harm * (own - delta) >= 0.0]
    return concentration(hit, finding.workload_id, device_ids)
