"""What the evaluations of the fleet share: what is watched and by which margin, how a run begins, how its findings are
made and kept, and the alarm that speaks for them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F

from drift.models import Alarm, Evaluation, EvaluationCell, Finding
from drift.models.evaluations import Progress
from drift.services.alarms import Sighting
from drift.stats.metrics import METRICS, Metric
from drift.version import code_version
from fleet.models import HardwareTarget, Workload
from fleet.selectors.budgets import current_budget
from telemetry.models import ReleaseSpan

# What is watched, and the alarm that a change beyond its margin raises.
ALARM_OF_METRIC: dict[str, str] = {
    "latency_p50": Alarm.Kind.LATENCY_DRIFT,
    "latency_p95": Alarm.Kind.LATENCY_DRIFT,
    "energy_mean": Alarm.Kind.ENERGY_DRIFT,
    "confidence_mean": Alarm.Kind.CONFIDENCE_DROP,
    "fallback_cpu_rate": Alarm.Kind.CPU_FALLBACK,
    "accelerator_utilization": Alarm.Kind.OCCUPANCY_DROP,
    "throttled_share": Alarm.Kind.THERMAL_SOAK,
}
METRIC_NAMES = tuple(ALARM_OF_METRIC)


def open_evaluation(
    kind: str, *, as_of: datetime, active: tuple[datetime, datetime], parameters: Mapping[str, Any], now: datetime
) -> Evaluation:
    """Write down a run, with one cell for each release that a hardware target ran within [active[0], active[1])."""
    evaluation = Evaluation.objects.create(
        kind=kind,
        status=Progress.RUNNING,
        as_of=as_of,
        parameters={"metrics": list(METRIC_NAMES), **parameters},
        code_version=code_version(),
        started_at=now,
    )
    cells = (
        ReleaseSpan.objects.filter(last_time__gte=active[0], first_time__lt=active[1])
        .order_by()
        .values("workload_id", "release_id", hardware_target_id=F("device__hardware_target_id"))
        .distinct()
    )
    EvaluationCell.objects.bulk_create([EvaluationCell(evaluation=evaluation, **cell) for cell in cells])
    return evaluation


@dataclass(frozen=True)
class Margin:
    """The change that is tolerated, in effect units: 0.05 is 5 % of a ratio, or 5 points of a share.

    `budget_version` is that of the budget which says so, None where the metric's default holds.
    """

    value: float
    budget_version: int | None = None

    def to_detail(self) -> dict[str, Any]:
        """As a finding keeps it."""
        return {"margin": self.value, "margin_budget": self.budget_version}


def margins_of(workload: Workload, target: HardwareTarget, names: Sequence[str] = METRIC_NAMES) -> dict[str, Margin]:
    """The margin of each metric on a hardware target as it stands: the budget's, else the metric's own."""
    budget = current_budget(workload, target)
    named = budget.margins if budget else {}
    return {
        name: Margin(float(named[name]), budget.version) if name in named else Margin(METRICS[name].margin)
        for name in names
    }


def new_finding(cell: EvaluationCell, name: str, detail: dict[str, Any]) -> Finding:
    """A finding of a metric in a cell about which nothing is known yet."""
    return Finding(
        evaluation_id=cell.evaluation_id,
        workload_id=cell.workload_id,
        release_id=cell.release_id,
        hardware_target_id=cell.hardware_target_id,
        metric=name,
        verdict="inconclusive",
        detail=detail,
    )


def keep_findings(cell: EvaluationCell, findings: Sequence[Finding], *, devices: int) -> None:
    """Put the findings of a cell in the place of those that it had, and call the cell done."""
    Finding.objects.filter(
        evaluation=cell.evaluation_id, release=cell.release_id, hardware_target=cell.hardware_target_id
    ).delete()
    Finding.objects.bulk_create(findings)
    EvaluationCell.objects.filter(pk=cell.pk).update(status=Progress.DONE, devices=devices, error="")


def margin_of(finding: Finding) -> float:
    """The margin that a finding was judged by; the metric's own for one that was kept without."""
    return (finding.detail or {}).get("margin", METRICS[finding.metric].margin)


def in_margins(finding: Finding) -> float:
    """The effect toward harm in units of its margin; a margin may be zero, and then any harm is many of it."""
    return METRICS[finding.metric].harm * finding.effect / max(margin_of(finding), 1e-12)


def worst_per_quantity(findings: Iterable[Finding], *, by: Callable[[Finding], float] = in_margins) -> list[Finding]:
    """One finding per quantity (the kind of its alarm), release and hardware target: that with the largest `by`."""
    worst: dict[tuple, Finding] = {}
    for finding in findings:
        key = (ALARM_OF_METRIC[finding.metric], finding.release_id, finding.hardware_target_id)
        if key not in worst or by(finding) > by(worst[key]):
            worst[key] = finding
    return list(worst.values())


def sighting_of(finding: Finding, *, words: str = "", **what: Any) -> Sighting:
    """What a finding is an alarm of; `words` follow the effect in the summary, `what` are fields of the Sighting."""
    metric = METRICS[finding.metric]
    return Sighting(
        summary=(
            f"{metric.title} {describe_effect(metric, finding.effect)}{words} on {finding.hardware_target.slug} "
            f"with {finding.workload.slug} {finding.release.version}"
        ),
        workload_id=finding.workload_id,
        release_id=finding.release_id,
        hardware_target_id=finding.hardware_target_id,
        metric=finding.metric,
        effect=finding.effect,
        lower=finding.lower,
        upper=finding.upper,
        devices_affected=finding.n_treated,
        **what,
    )


def describe_effect(metric: Metric, effect: float) -> str:
    """An effect with its unit, signed: `+3.1 %` for ratios, `+0.4 points` for shares, `-0.02` else."""
    if metric.relative:
        return f"{100 * effect:+.1f} %"
    return f"{100 * effect:+.2f} points" if metric.unit == "share" else f"{effect:+.3g}"
