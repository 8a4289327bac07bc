"""What the two arms of a comparison recorded in one period, laid out device by device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from drift.stats.metrics import SHAPES
from drift.stats.summaries import SHAPE_BINS, DevicePeriod, ExponentialHistograms, shape_counts
from telemetry.selectors.summaries import DeviceSummaries


def device_period(summary: DeviceSummaries) -> DevicePeriod:
    """Stored summaries in the form that the statistics take; the arrays are shared, not copied."""
    return DevicePeriod(
        count=summary.count,
        outcomes=summary.outcomes,
        fallbacks=summary.fallbacks,
        throttled=summary.throttled,
        retries=summary.retries,
        measure_n=summary.measure_n,
        measure_sum=summary.measure_sum,
        measure_sumsq={"latency": summary.latency_sumsq, "energy": summary.energy_sumsq},
        histograms={
            "latency": ExponentialHistograms(summary.latency_offset, summary.latency_hist, summary.latency_zero),
            "energy": ExponentialHistograms(summary.energy_offset, summary.energy_hist, summary.energy_zero),
        },
        bins={
            "confidence": summary.confidence_hist,
            "input_quality": summary.input_quality_hist,
            "classes": summary.class_counts,
        },
    )


@dataclass(frozen=True)
class Arm:
    """One arm's devices: `positions` says where they stand among all devices of the comparison."""

    positions: Sequence[int]
    summary: DeviceSummaries

    @cached_property
    def period(self) -> DevicePeriod:
        """The arm's summaries as the statistics take them."""
        return device_period(self.summary)


@dataclass(frozen=True)
class Periods:
    """One period of a comparison of `size` devices."""

    size: int
    arms: tuple[Arm, ...]

    def scatter(self, read: Callable[[Arm], NDArray[np.float64]], fill: float) -> NDArray[np.float64]:
        """One number per device in the order of the comparison, shape (size,); `fill` for a device in no arm."""
        values = np.full(self.size, fill)
        for arm in self.arms:
            if arm.positions:
                values[list(arm.positions)] = read(arm)
        return values

    @property
    def class_ids(self) -> set[int]:
        """The classes that any device predicted."""
        return {int(class_id) for arm in self.arms for class_id in arm.summary.class_ids}

    def counts(self, shape: str, class_ids: Sequence[int]) -> list[list[int] | None]:
        """Counts per bin, or per class of `class_ids`, one row per device; None where it recorded none."""
        source = SHAPES[shape].source
        rows: list[list[int] | None] = [None] * self.size
        for arm in self.arms:
            table = shape_counts(arm.period, shape)
            if table is None:
                continue
            if source == "classes":
                table = _columns(table, [int(class_id) for class_id in arm.summary.class_ids], class_ids)
            for position, row in zip(arm.positions, table, strict=True):
                if row.sum() > 0:
                    rows[position] = row.astype(int).tolist()
        return rows


def shape_labels(shape: str, periods: Sequence[Periods]) -> tuple[list[str], list[int]]:
    """The labels of a shape's bins, and for a class mix the class ids that they stand for."""
    if SHAPES[shape].source != "classes":
        return [f"{(index + 1) / SHAPE_BINS:.2f}" for index in range(SHAPE_BINS)], []
    ids = sorted(set().union(*(period.class_ids for period in periods)))
    return [str(class_id) for class_id in ids], ids


def _columns(table: NDArray[np.integer], have: Sequence[int], want: Sequence[int]) -> NDArray[np.integer]:
    """The table with one column per class in `want`; classes that it does not have are zero."""
    wide = np.zeros((len(table), len(want)), dtype=np.int64)
    place = {class_id: column for column, class_id in enumerate(want)}
    for column, class_id in enumerate(have):
        wide[:, place[class_id]] = table[:, column]
    return wide
