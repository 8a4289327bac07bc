"""OTLP metrics as windows: from the data points of an OpenTelemetry SDK to what a device of our own would have sent.

Instruments: `edge.inference.duration` (s), `edge.inference.energy` (J), `edge.inference.confidence` (1) as histograms,
`edge.inference.count` as a sum; the attributes `outcome` and `fallback` of their points are counted where present.

An exponential histogram keeps its resolution, down to the server's own. Counts, sums and means are taken always, but
percentiles only where no bucket in use spans more than a factor of two (scale 0): the SDKs' default explicit bounds put
every inference of a usual length into one bucket, and a percentile read from that is invented.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from telemetry.histograms import UNIT_BINS, Histogram, index_of
from telemetry.protocol.errors import Rejection
from telemetry.protocol.windows import LONGEST_US, WIDEST_SCALE, CheckedWindow, Summary
from telemetry.protocol.wire import ContextLabels

DURATION, ENERGY = "edge.inference.duration", "edge.inference.energy"
CONFIDENCE, COUNT = "edge.inference.confidence", "edge.inference.count"
# instrument -> factor from its unit to the server's, by unit; the first is meant where none is given
_FACTOR: dict[str, dict[str, float]] = {
    DURATION: {"s": 1e3, "ms": 1.0, "us": 1e-3},
    ENERGY: {"J": 1e3, "mJ": 1.0},
    CONFIDENCE: {"1": 1.0},
    COUNT: {"1": 1.0, "{inference}": 1.0},
}
_LABELS = {
    "service.name": "workload",
    "service.version": "release",
    "hw.driver_version": "driver_version",
    "hw.firmware_version": "firmware_version",
    "device.model.identifier": "accelerator",
    "edge.model_version": "model_version",
    "edge.runtime_version": "runtime_version",
    "edge.power_mode": "power_mode",
}
_DELTA, _CUMULATIVE = 1, 2
_WIDEST = 2.0
# Beyond the range of the histograms on either side, and within that of single precision.
_LARGEST_EXPONENT = 60.0


@dataclass(frozen=True, slots=True)
class Point:
    """One data point, or the difference of two cumulative ones.

    Attributes:
        instrument: one of the four.
        key: what tells its series apart from the others of the same resource.
        start_us, end_us: the time it stands for.
        count, sum: of the values, the sum in the server's unit.
        bins: histogram as bin -> count; see `scale`.
        zero: values that were zero.
        scale: of an exponential histogram; None where `bins` are explicit buckets.
        bounds: of explicit buckets.
        factor: from the point's unit to the server's.
        outcome, fallback: attributes.
        cumulative: whether it counts from `start_us` on, whatever was sent before.
    """

    instrument: str
    key: str
    start_us: int
    end_us: int
    count: int
    sum: float
    bins: dict[int, int] = field(default_factory=dict)
    zero: int = 0
    scale: int | None = None
    bounds: tuple[float, ...] = ()
    factor: float = 1.0
    outcome: str = ""
    fallback: str = ""
    cumulative: bool = False

    def since(self, earlier: Point) -> Point | None:
        """What was added since an earlier point of the same series; None when the series began anew in between."""
        if earlier.start_us != self.start_us or earlier.count > self.count:
            return None
        bins, old = dict(self.bins), earlier.bins
        if (self.scale is None) != (earlier.scale is None) or self.bounds != earlier.bounds:
            return None
        if self.scale is not None:
            # an SDK makes its histogram coarser when values spread; the earlier one follows
            if earlier.scale < self.scale:
                return None
            old = fold(old, earlier.scale - self.scale)
        for index, count in old.items():
            left = bins.get(index, 0) - count
            if left < 0:
                return None
            bins[index] = left
        zero = self.zero - earlier.zero
        if zero < 0:
            return None
        return replace(
            self,
            start_us=earlier.end_us,
            count=self.count - earlier.count,
            sum=self.sum - earlier.sum,
            bins={index: count for index, count in bins.items() if count},
            zero=zero,
            cumulative=False,
        )


def fold(bins: dict[int, int], steps: int) -> dict[int, int]:
    """Bins of an exponential histogram at a scale coarser by `steps`."""
    folded: dict[int, int] = {}
    for index, count in bins.items():
        folded[index >> steps] = folded.get(index >> steps, 0) + count
    return folded


@dataclass(slots=True)
class Resource:
    """What one resource of a request says: labels, points, and what could not be read.

    `unknown` counts points of instruments that the server has no use for; `points_rejected` those of the rejections.
    """

    device: str | None
    labels: ContextLabels
    points: list[Point] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    unknown: int = 0


def read_resources(request: Any) -> Iterator[Resource]:
    """The resources of an ExportMetricsServiceRequest."""
    for sent in request.resource_metrics:
        attributes = _attributes(sent.resource.attributes)
        labels = {label: attributes[name][:64] for name, label in _LABELS.items() if attributes.get(name)}
        resource = Resource(attributes.get("device.id"), ContextLabels(**labels))
        for scope in sent.scope_metrics:
            for metric in scope.metrics:
                _read_metric(resource, metric)
        yield resource


def _attributes(pairs: Iterable[Any]) -> dict[str, str]:
    """Attributes as text; lists and maps are of no use here."""
    found = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        if kind in ("string_value", "int_value", "double_value", "bool_value"):
            found[pair.key] = str(getattr(pair.value, kind)).replace("\0", "")
    return found


def _read_metric(resource: Resource, metric: Any) -> None:
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind) if kind else None
    n = len(data.data_points) if data is not None else 0
    if metric.name not in _FACTOR:
        resource.unknown += n
        return
    wanted = ("sum",) if metric.name == COUNT else ("histogram", "exponential_histogram")
    if kind not in wanted:
        _reject(resource, metric.name, "type", f"`{metric.name}` must be a {' or '.join(wanted)}.", n)
        return
    units = _FACTOR[metric.name]
    factor = units.get(metric.unit or next(iter(units)))
    if factor is None:
        _reject(resource, metric.name, "unit", f"The unit of `{metric.name}` must be {' or '.join(units)}.", n)
        return
    if data.aggregation_temporality not in (_DELTA, _CUMULATIVE):
        _reject(resource, metric.name, "temporality", f"`{metric.name}` must be delta or cumulative.", n)
        return
    for sent in data.data_points:
        try:
            resource.points.append(_point(metric.name, kind, data.aggregation_temporality, factor, sent))
        except ValueError as error:
            _reject(resource, metric.name, "range", f"`{metric.name}`: {error}.", 1)


def _reject(resource: Resource, name: str, code: str, message: str, n: int) -> None:
    resource.rejections += [Rejection("otlp", None, name, code, message)] * n


def _point(instrument: str, kind: str, temporality: int, factor: float, sent: Any) -> Point:
    attributes = _attributes(sent.attributes)
    common: dict[str, Any] = {
        "instrument": instrument,
        "key": f"{instrument} {sorted(attributes.items())}",
        "start_us": sent.start_time_unix_nano // 1000,
        "end_us": sent.time_unix_nano // 1000,
        "outcome": attributes.get("outcome", ""),
        "fallback": attributes.get("fallback", ""),
        "factor": factor,
        "cumulative": temporality == _CUMULATIVE,
    }
    if common["start_us"] <= 0 or common["end_us"] <= common["start_us"]:
        raise ValueError("a point needs a start and a later end")
    if kind == "sum":
        value = sent.as_int if sent.WhichOneof("value") == "as_int" else sent.as_double
        if not 0 <= value < 2**31:
            raise ValueError("a count must not be negative")
        return Point(**common, count=int(value), sum=0.0)
    if not 0 <= sent.sum < float(np.finfo(np.float32).max):
        raise ValueError("the sum must be finite and not negative")
    if kind == "histogram":
        if sent.bucket_counts and len(sent.bucket_counts) != len(sent.explicit_bounds) + 1:
            raise ValueError("there must be one bucket more than bounds")
        bins = {index: count for index, count in enumerate(sent.bucket_counts) if count}
        point = Point(**common, count=sent.count, sum=sent.sum * factor, bins=bins, bounds=tuple(sent.explicit_bounds))
    else:
        if any(sent.negative.bucket_counts):
            raise ValueError("values must not be negative")
        if not -10 <= sent.scale <= 20:
            raise ValueError("the scale must lie between -10 and 20")
        offset = sent.positive.offset
        bins = {offset + i: count for i, count in enumerate(sent.positive.bucket_counts) if count}
        point = Point(
            **common, count=sent.count, sum=sent.sum * factor, bins=bins, zero=sent.zero_count, scale=sent.scale
        )
    if point.bins or point.zero:
        inside = sum(point.bins.values()) + point.zero
        if inside != point.count:
            raise ValueError(f"the buckets hold {inside} values and the count says {point.count}")
    return point


# --- points to windows -----------------------------------------------------------------------------------------------


def windows_of(points: Iterable[Point]) -> tuple[list[CheckedWindow], list[Rejection]]:
    """The windows that points (none of them cumulative) stand for.

    Points that end at the same moment come from one collection of the SDK and make one window; their starts differ by
    the time between the creation of their instruments, so the earliest is the window's.
    """
    together: dict[int, list[Point]] = {}
    rejections = []
    for point in points:
        if point.end_us - point.start_us > LONGEST_US:
            message = f"A point of `{point.instrument}` stands for more than one hour."
            rejections.append(Rejection("otlp", None, point.instrument, "range", message))
            continue
        together.setdefault(point.end_us, []).append(point)
    windows = []
    for at, (end, group) in enumerate(sorted(together.items())):
        by_instrument: dict[str, list[Point]] = {}
        for point in group:
            by_instrument.setdefault(point.instrument, []).append(point)
        counted = by_instrument.get(DURATION) or by_instrument.get(COUNT) or []
        counters = by_instrument.get(COUNT) or counted
        summaries = {name: _summary(by_instrument.get(name, [])) for name in (DURATION, ENERGY, CONFIDENCE)}
        count = max(sum(p.count for p in counted), *(s.count for s in summaries.values()))
        windows.append(
            CheckedWindow(
                index=at,
                start_us=min(point.start_us for point in group),
                end_us=end,
                uptime_ms=None,
                count=count,
                outcomes=_counted(counters, "outcome"),
                fallbacks=_counted(counters, "fallback"),
                classes={},
                retries=0,
                throttled_ms=0,
                idle_energy_mj=0.0,
                latency=summaries[DURATION],
                energy=summaries[ENERGY],
                confidence=summaries[CONFIDENCE],
                input_quality=Summary(),
            )
        )
    return windows, rejections


def _counted(points: list[Point], attribute: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for point in points:
        if value := getattr(point, attribute):
            counts[value] = counts.get(value, 0) + point.count
    return counts


def _summary(points: list[Point]) -> Summary:
    """All points of one instrument and time, with different attributes, as one summary in the server's unit."""
    if not points:
        return Summary()
    count, total = sum(p.count for p in points), sum(p.sum for p in points)
    values, weights, zero = [], [], 0
    for point in points:
        middles = _middles(point)
        if middles is None:
            return Summary(count=count, sum=total)
        values += middles
        weights += point.bins.values()
        zero += point.zero
    if not values:
        return Summary(Histogram(zero=zero), count, total)
    value, weight = np.array(values), np.array(weights, dtype=np.int64)
    if points[0].instrument == CONFIDENCE:
        bins = np.minimum((np.clip(value, 0, 1) * UNIT_BINS).astype(int), UNIT_BINS - 1)
        counts = np.bincount(bins, weights=weight, minlength=UNIT_BINS).astype(np.int64)
        counts[0] += zero
        return Summary(Histogram(0, counts), count, total)
    index = index_of(value)
    first = int(index.min())
    counts = np.bincount(index - first, weights=weight).astype(np.int64)
    estimate = float(weight @ value)
    stretched = value * (total / estimate) if estimate else value
    return Summary(
        Histogram(first, counts, zero),
        count,
        total,
        float(weight @ stretched**2),
        0.0 if zero else float(value.min()),
        float(value.max()),
    )


def _middles(point: Point) -> list[float] | None:
    """The value that stands for each bin, in the server's unit; None where bins are too wide to tell percentiles."""
    if point.scale is not None:
        if point.scale < WIDEST_SCALE and point.bins:
            return None
        exponents = ((index + 0.5) * 2.0**-point.scale for index in point.bins)
        return [
            2.0 ** min(max(exponent, -_LARGEST_EXPONENT), _LARGEST_EXPONENT) * point.factor for exponent in exponents
        ]
    if not point.bins:
        return None
    middles = []
    for index in point.bins:
        if index == len(point.bounds):
            return None
        upper, lower = point.bounds[index], point.bounds[index - 1] if index else 0.0
        if point.instrument == CONFIDENCE:
            if not (0 <= lower < upper <= 1 and upper - lower <= 0.1):
                return None
            middles.append((lower + upper) / 2)
        elif lower <= 0 or upper > lower * _WIDEST:
            return None
        else:
            middles.append((lower * upper) ** 0.5 * point.factor)
    return middles
