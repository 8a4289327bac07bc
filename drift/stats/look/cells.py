"""The statistics of one look: every metric and shape, in every window and group, on one scale; and their maximum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from drift.stats import metrics as registry
from drift.stats import shape as shapes
from drift.stats.contrast import Moments, stratum_moments, total
from drift.stats.family import Scale, permutation_scale
from drift.stats.look.frame import Frame
from drift.stats.look.inputs import LookInput, MetricInput, ShapeInput
from drift.stats.look.state import Cell
from drift.stats.scan import Group, Scope, Window, enough_present, group_contrast, moments_by_unit
from drift.stats.summaries import from_nullable

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CellValue:
    """One statistic of the family: its real value, score and contrast (toward harm; the size for a shape)."""

    cell: Cell
    group: Group
    window: Window
    score: float
    statistic: float
    theta: float
    scale: Scale


@dataclass
class MetricColumns:
    """Differences toward harm, shape (n, k), one column per metric and window."""

    names: list[tuple[str, Window]]
    differences: Floats
    moments: dict[tuple[str, ...], Moments]
    """By unit of the frame, over all assignments."""
    real: dict[str, Moments]
    """By stratum, of the real assignment alone."""

    def column(self, name: str, window: Window) -> int | None:
        """The column of a metric in a window, or None."""
        return self.names.index((name, window)) if (name, window) in self.names else None


@dataclass
class ShapeColumns:
    """One distribution in one window: differences per bin, shape (n, bins), and the moments.

    `moments` are per lane over all assignments, `real` per stratum of the real assignment alone.
    """

    name: str
    window: Window
    labels: list[str]
    differences: Floats
    moments: dict[str, shapes.ShapeMoments] = field(default_factory=dict)
    real: dict[str, shapes.ShapeMoments] = field(default_factory=dict)

    def theta(self, strata: Sequence[str]) -> Floats:
        """The contrast per bin of the real assignment over some strata."""
        return shapes.total_shape(self.real, strata).theta()

    def effect_size(self, strata: Sequence[str]) -> shapes.EffectSize | None:
        """How much changed over some strata; None when no contrast could be formed."""
        theta = self.theta(strata)
        if not np.isfinite(theta).all():
            return None
        ordered = registry.shape(self.name).ordered
        return shapes.ordered_effect_size(theta) if ordered else shapes.class_effect_size(theta)

    def size(self, strata: Sequence[str]) -> float:
        """The size beside which the practical margin stands: KS distance, or total variation for classes."""
        effect = self.effect_size(strata)
        if effect is None:
            return math.nan
        return effect.ks if effect.ks is not None else effect.total_variation


@dataclass
class LookCells:
    """All statistics of a look and the family's maximum per assignment, shape (B,)."""

    metrics: MetricColumns
    shapes: list[ShapeColumns]
    values: dict[Cell, CellValue]
    maximum: Floats


def metric_arrays(row: MetricInput, frame: Frame) -> dict[str, Floats]:
    """The device values of a metric in frame order: pre, post and, if there is one, recent."""
    count = len(row.pre)
    arrays = {
        part: from_nullable(values, f"{row.name}.{part}", count)[frame.order]
        for part, values in (("pre", row.pre), ("post", row.post), ("recent", row.recent))
        if values is not None
    }
    return arrays


def cells_of(look: LookInput, frame: Frame) -> LookCells:
    """Every statistic of a look. Without randomisation only the real contrasts are formed; the maximum is empty."""
    columns = _metric_columns(look, frame)
    shape_columns = [column for row in look.shapes for column in _shape_columns(row, frame)]
    assignments = next(iter(frame.assignments.values())).shape[0]
    result = LookCells(columns, shape_columns, {}, np.full(assignments, -np.inf))
    if assignments > 1:
        for group in frame.groups:
            for value, scores in group_cells(columns, group, frame):
                result.values[value.cell] = value
                np.maximum(result.maximum, scores, out=result.maximum)
        for column in shape_columns:
            for value, scores in _shape_cells(column, frame):
                result.values[value.cell] = value
                np.maximum(result.maximum, scores, out=result.maximum)
    return result


def group_cells(
    columns: MetricColumns, group: Group, frame: Frame, only: Sequence[str] | None = None
) -> list[tuple[CellValue, Floats]]:
    """The metric statistics of a group with their scores per assignment; `only` names the metrics wanted."""
    contrast = group_contrast(columns.moments, group)
    found = []
    for index, (name, window) in enumerate(columns.names):
        if only is not None and name not in only:
            continue
        present = {
            stratum: int(np.isfinite(columns.differences[frame.devices[stratum], index]).sum())
            for stratum in group.strata
        }
        if not enough_present(group, frame.quotas, present):
            continue
        statistics = contrast.statistic[:, index]
        scale = permutation_scale(statistics)
        scores = scale.score(statistics)
        theta = float(np.broadcast_to(contrast.theta, contrast.statistic.shape)[0, index])
        cell = (name, window, str(group.scope), group.name)
        found.append((CellValue(cell, group, window, float(scores[0]), float(statistics[0]), theta, scale), scores))
    return found


def _metric_columns(look: LookInput, frame: Frame) -> MetricColumns:
    names: list[tuple[str, Window]] = []
    columns: list[Floats] = []
    for row in look.metrics:
        harm = registry.metric(row.name).harm
        arrays = metric_arrays(row, frame)
        for part, window in (("post", Window.CUMULATIVE), ("recent", Window.RECENT)):
            if part in arrays:
                names.append((row.name, window))
                columns.append(harm * (arrays[part] - arrays["pre"]))
    differences = np.column_stack(columns) if columns else np.empty((len(frame.order), 0))
    return MetricColumns(
        names,
        differences,
        moments_by_unit(frame.units, frame.assignments, frame.devices, differences),
        {
            name: stratum_moments(block[:1], differences[frame.devices[name]])
            for name, block in frame.assignments.items()
        },
    )


def _shape_columns(row: ShapeInput, frame: Frame) -> list[ShapeColumns]:
    judged = registry.shape(row.name)
    parts = {
        part: _count_rows(values, row.labels, f"{row.name}.{part}")[frame.order]
        for part, values in (("pre", row.pre), ("post", row.post), ("recent", row.recent))
        if values is not None
    }
    labels = list(row.labels)
    if not judged.ordered:
        pooled, labels = shapes.pool_rare(list(parts.values()), labels)
        parts = dict(zip(parts, pooled, strict=True))
    portion = shapes.cumulative_shares if judged.ordered else shapes.shares
    columns = []
    for part, window in (("post", Window.CUMULATIVE), ("recent", Window.RECENT)):
        if part in parts:
            differences = portion(parts[part], judged.minimum_n) - portion(parts["pre"], judged.minimum_n)
            column = ShapeColumns(row.name, window, labels, differences)
            for lane in frame.lanes:
                blocks = [
                    (frame.assignments[stratum], differences[frame.devices[stratum]])
                    for stratum in frame.lane_strata(lane)
                ]
                column.moments[lane] = shapes.group_shape_moments(blocks)
            for stratum, block in frame.assignments.items():
                column.real[stratum] = shapes.shape_moments(block[:1], differences[frame.devices[stratum]])
            columns.append(column)
    return columns


def _count_rows(rows: Sequence[Sequence[int] | None], labels: Sequence[str], name: str) -> NDArray[np.int64]:
    width = len(labels)
    empty = [0] * width
    if wrong := [index for index, row in enumerate(rows) if row is not None and len(row) != width]:
        raise ValueError(f"{name}[{wrong[0]}]: {len(rows[wrong[0]] or ())} counts for {width} labels")
    counts = np.array([empty if row is None else row for row in rows], dtype=np.int64).reshape(len(rows), width)
    if (counts < 0).any():
        raise ValueError(f"{name}: a count is negative")
    return counts


def _shape_cells(column: ShapeColumns, frame: Frame) -> list[tuple[CellValue, Floats]]:
    found = []
    for group in frame.groups:
        if group.scope is Scope.STRATUM:
            continue
        present = {
            stratum: int(np.isfinite(column.differences[frame.devices[stratum], 0]).sum()) for stratum in group.strata
        }
        if not enough_present(group, frame.quotas, present):
            continue
        lanes = sorted({frame.lane_of[stratum] for stratum in group.strata})
        statistics = shapes.total_shape(column.moments, lanes).distance()
        scale = permutation_scale(statistics)
        scores = scale.score(statistics)
        cell = (column.name, column.window, str(group.scope), group.name)
        size = column.size(group.strata)
        value = CellValue(cell, group, column.window, float(scores[0]), float(statistics[0]), size, scale)
        found.append((value, scores))
    return found


def real_contrast(columns: MetricColumns, strata: Sequence[str], index: int) -> tuple[float, float, int, int]:
    """theta, SE, treated and control devices of the real assignment in one column over some strata; NaN for none."""
    summed = total(columns.real[name] for name in strata)
    contrast = summed.contrast()
    row = (contrast.theta, contrast.standard_error, summed.treated, summed.control)
    theta, error, treated, control = (np.broadcast_to(part, summed.weighted.shape)[0, index] for part in row)
    return float(theta), float(error), int(treated), int(control)
