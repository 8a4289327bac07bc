"""Two releases side by side: figures of all inferences, and the change of the devices that ran both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from drift.stats.metrics import MEAN_MINIMUM_N, SHARE_MINIMUM_N, quantile_minimum_n
from drift.stats.paired import PairedChange, counting_floor, paired_change
from fleet.models import Release
from telemetry import metrics
from telemetry.metrics import METRICS, Metric
from telemetry.models import ReleaseSpan
from telemetry.rollups import Rollups
from telemetry.selectors.distributions import class_mix
from telemetry.selectors.grouping import Grouped, grouped_rollups
from telemetry.selectors.reporting import evenly_picked
from telemetry.selectors.selection import Selection

Values = NDArray[np.float64]

# Devices are read one by one for the change of those that ran both; of a larger fleet some, evenly picked.
MOST_DEVICES = 300
# Attribution looks back so far before the newer release arrived.
BEFORE = timedelta(days=7)


@dataclass(frozen=True)
class Figure:
    """One line of the comparison: a quantile, a mean, or the rate of one kind of a metric.

    `relative` figures differ by a ratio, the others by a difference (shares: in points).
    """

    title: str
    metric: str
    quantile: float | None = None
    kind: str = ""
    relative: bool = True
    note: str = ""

    @property
    def source(self) -> Metric:
        """The metric that it is computed from."""
        return METRICS[self.metric]

    @property
    def is_share(self) -> bool:
        """Whether it is a share of inferences."""
        return self.source.is_rate

    @property
    def unit(self) -> str:
        """The unit of the values, empty for plain numbers; shares are shown in per cent."""
        return "" if self.source.unit == "1" else self.source.unit

    @property
    def minimum_n(self) -> int:
        """Inferences that a device needs for its own value to count."""
        if self.quantile is not None:
            return quantile_minimum_n(max(self.quantile, 1 - self.quantile))
        return SHARE_MINIMUM_N if self.is_share else MEAN_MINIMUM_N

    def values(self, rollups: Rollups) -> Values:
        """The figure of each row, shape (rows,); nan where nothing was measured."""
        if self.quantile is not None:
            return metrics.quantiles(self.source, rollups, (self.quantile,))[:, 0]
        return metrics.statistic(self.source, rollups, self.kind or "mean")


def _kinds(metric: str, words: Mapping[str, str]) -> tuple[Figure, ...]:
    return tuple(Figure(title, metric, kind=kind, relative=False, note="kind") for kind, title in words.items())


FIGURES: tuple[Figure, ...] = (
    Figure("Latency, mean", "latency"),
    Figure("Latency p50", "latency", 0.5),
    Figure("Latency p95", "latency", 0.95),
    Figure("Latency p99", "latency", 0.99),
    Figure("Energy per inference, mean", "energy"),
    Figure("Energy per inference p95", "energy", 0.95),
    Figure("Power", "power"),
    Figure("Confidence, mean", "confidence", relative=False),
    Figure("Confidence p5", "confidence", 0.05, relative=False),
    Figure("Input quality, mean", "input_quality", relative=False),
    Figure("Fallback rate", "fallback_rate", relative=False),
    *_kinds(
        "fallback_rate",
        {
            "cpu": "to the CPU",
            "smaller_model": "to a smaller model",
            "cloud": "to the cloud",
            "reject": "input rejected",
        },
    ),
    Figure("Error rate", "error_rate", relative=False),
    *_kinds("error_rate", {"error": "errors", "timeout": "time-outs", "out_of_memory": "out of memory"}),
    Figure("Throttled share", "throttled_share", relative=False),
    Figure("Temperature, mean", "temperature", relative=False),
    Figure("Memory", "memory"),
)


@dataclass(frozen=True)
class Side:
    """What one release's figures rest on."""

    release: Release
    inferences: int
    devices: int


@dataclass(frozen=True)
class Row:
    """A figure of both releases; `change` is that of the devices that ran both, on the figure's own scale.

    Attributes:
        difference: of all inferences, candidate against baseline: 0.05 is 5 % for relative figures.
        effect, lower, upper: mean change over devices and its 95 % interval, like `difference`; None where too few ran
            both.
        devices: how many ran both with enough inferences on each.
    """

    figure: Figure
    baseline: float | None
    candidate: float | None
    difference: float | None
    effect: float | None
    lower: float | None
    upper: float | None
    devices: int

    @property
    def shown(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.lower is not None and self.upper is not None and (self.lower > 0 or self.upper < 0)


@dataclass(frozen=True)
class ClassShift:
    """The share of one predicted class under both releases."""

    name: str
    baseline: float
    candidate: float

    @property
    def difference(self) -> float:
        """Candidate minus baseline."""
        return self.candidate - self.baseline


@dataclass(frozen=True)
class ReleaseComparison:
    """Two releases over a range.

    Attributes:
        both: devices that ran both releases in the range; `both_read` of them were read one by one.
        classes: predicted classes, the largest difference first; `class_distance` is the total variation distance.
    """

    baseline: Side
    candidate: Side
    rows: list[Row]
    both: int
    both_read: int
    classes: list[ClassShift]
    class_distance: float | None


@dataclass(frozen=True)
class ChangedDevices:
    """Who moved to the candidate, who stayed on the baseline, and when the first one moved."""

    moved: list[int]
    stayed: list[int]
    of_moved: int
    of_stayed: int
    first_move: datetime


def compare_releases(
    selection: Selection, baseline: Release, candidate: Release, *, start: datetime, end: datetime
) -> ReleaseComparison:
    """Figures of two releases of one workload over [start, end), and the paired change of devices that ran both.

    Figures of all inferences compare whichever devices ran which release; the paired change compares each device with
    itself and takes the device as the unit (see `drift.stats.paired`). Neither knows why a device ran what it ran.
    """
    selection = replace(selection, release_ids=(baseline.pk, candidate.pk))
    values = tuple(dict.fromkeys(name for figure in FIGURES for name in figure.source.values))
    span = {"start": start, "end": end, "values": values}
    whole = grouped_rollups(selection, group_by=("release",), **span)
    devices = _devices(selection, baseline, candidate, start, end)
    both = sorted(devices[baseline.pk] & devices[candidate.pk])
    read = evenly_picked(both, MOST_DEVICES)
    own = grouped_rollups(replace(selection, device_ids=tuple(read)), group_by=("release", "device"), **span)
    versions = (baseline.version, candidate.version)
    rows = [_row(figure, whole, own, versions, read) for figure in FIGURES]
    count = _by_release(whole, whole.rollups.numbers["count"], versions)
    classes, distance = _classes(selection, versions, start, end)
    return ReleaseComparison(
        baseline=Side(baseline, int(np.nan_to_num(count[0])), len(devices[baseline.pk])),
        candidate=Side(candidate, int(np.nan_to_num(count[1])), len(devices[candidate.pk])),
        rows=[row for row in rows if not row.figure.kind or row.baseline or row.candidate],
        both=len(both),
        both_read=len(read),
        classes=classes,
        class_distance=distance,
    )


def changed_devices(
    selection: Selection, baseline: Release, candidate: Release, *, end: datetime
) -> ChangedDevices | None:
    """Devices that moved to the candidate before `end`, and those on the baseline that did not; None if none moved."""
    spans = ReleaseSpan.objects.filter(selection.devices(), workload=candidate.workload_id, first_time__lt=end)
    arrivals = dict(spans.filter(release=candidate).order_by("-first_time").values_list("device", "first_time"))
    if not arrivals:
        return None
    first_move = min(arrivals.values())
    on_baseline = spans.filter(release=baseline, last_time__gte=first_move - BEFORE)
    stayed = set(on_baseline.order_by().values_list("device", flat=True)) - set(arrivals)
    moved = sorted(arrivals)
    return ChangedDevices(
        evenly_picked(moved, MOST_DEVICES),
        evenly_picked(sorted(stayed), MOST_DEVICES),
        len(moved),
        len(stayed),
        first_move,
    )


def _devices(
    selection: Selection, baseline: Release, candidate: Release, start: datetime, end: datetime
) -> dict[int, set[int]]:
    """Devices that reported in [start, end), by release."""
    spans = ReleaseSpan.objects.filter(
        selection.devices(), release__in=(baseline, candidate), first_time__lt=end, last_time__gte=start
    )
    found: dict[int, set[int]] = {baseline.pk: set(), candidate.pk: set()}
    for release, device in spans.order_by().values_list("release", "device"):
        found[release].add(device)
    return found


def _row(figure: Figure, whole: Grouped, own: Grouped, versions: tuple[str, str], devices: Sequence[int]) -> Row:
    before, after = _by_release(whole, figure.values(whole.rollups), versions)
    change = _paired(figure, own, versions)

    def effect(theta: float | None) -> float | None:
        return None if theta is None else (math.expm1(theta) if figure.relative else theta)

    return Row(
        figure=figure,
        baseline=_known(before),
        candidate=_known(after),
        difference=_known(after / before - 1 if figure.relative and before else after - before),
        effect=effect(change.mean) if change.lower is not None else None,
        lower=effect(change.lower),
        upper=effect(change.upper),
        devices=change.n,
    )


def _paired(figure: Figure, own: Grouped, versions: tuple[str, str]) -> PairedChange:
    """The change of single devices between the two releases."""
    count = metrics.measured_count(figure.source, own.rollups)
    values = np.where(count >= figure.minimum_n, figure.values(own.rollups), np.nan)
    if figure.relative:
        values = np.log(values, out=np.full_like(values, np.nan), where=values > 0)
    sides: dict[str, dict[str, tuple[float, float]]] = {version: {} for version in versions}
    for place, value, n in zip(own.rollups.keys["group"].tolist(), values.tolist(), count.tolist(), strict=True):
        group = own.groups[place]
        sides[group["release"]][group["device"]] = value, n
    serials = sorted(sides[versions[0]].keys() & sides[versions[1]].keys())
    (before, n_before), (after, n_after) = (
        np.array([sides[version][serial] for serial in serials], dtype=np.float64).reshape(-1, 2).T
        for version in versions
    )
    floor = counting_floor(before, after, n_before, n_after) if figure.is_share else 0.0
    return paired_change(before, after, harm=1, error_floor=floor)


def _by_release(grouped: Grouped, values: NDArray, versions: tuple[str, str]) -> tuple[float, float]:
    found = {grouped.groups[place]["release"]: row for row, place in enumerate(grouped.rollups.keys["group"].tolist())}
    first, second = (float(values[found[version]]) if version in found else math.nan for version in versions)
    return first, second


def _classes(
    selection: Selection, versions: tuple[str, str], start: datetime, end: datetime
) -> tuple[list[ClassShift], float | None]:
    mixes = {
        mix.group["release"]: mix.counts for mix in class_mix(selection, start=start, end=end, group_by=("release",))
    }
    sides = [mixes.get(version, {}) for version in versions]
    if not all(sides):
        return [], None
    totals = [sum(side.values()) for side in sides]
    shifts = [
        ClassShift(name, sides[0].get(name, 0) / totals[0], sides[1].get(name, 0) / totals[1])
        for name in sorted(sides[0].keys() | sides[1].keys())
    ]
    shifts.sort(key=lambda shift: -abs(shift.difference))
    return shifts, sum(abs(shift.difference) for shift in shifts) / 2


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
