"""ECDF overlay: whole distributions side by side, with a band where there is one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from telemetry.charts.figure import (
    DASHES,
    MAX_COLUMNS,
    Chart,
    Footing,
    Table,
    colour,
    evenly,
    filled_between,
    log_axis,
    numbers,
)


@dataclass(frozen=True)
class EcdfSeries:
    """One group's histogram: `upper` (n,) ascending upper limits of bins, `count` (n,), a band on the same limits."""

    label: str
    upper: np.ndarray
    count: np.ndarray
    band_lower: np.ndarray | None = None
    band_upper: np.ndarray | None = None


def ecdf_overlay(
    series: Sequence[EcdfSeries],
    *,
    title: str,
    log: bool = True,
    guides: Sequence[float] = (0.5, 0.95, 0.99),
    footing: Footing | None = None,
) -> Chart:
    """Share of inferences at or below a value, as steps at the bins' upper limits, with lines at `guides` quantiles.

    `title` names measure and unit of `upper`. A band is drawn as it comes; its method belongs in the footing.
    """
    data, rows = [], []
    for index, group in enumerate(series):
        counts = np.asarray(group.count, dtype=float)
        if counts.sum() == 0:
            continue
        keep = _at_most(len(counts))
        share = np.cumsum(counts)[keep] / counts.sum()
        upper = np.asarray(group.upper, dtype=float)[keep]
        if group.band_lower is not None and group.band_upper is not None:
            low, high = (numbers(np.asarray(edge, dtype=float)[keep]) for edge in (group.band_lower, group.band_upper))
            data.append({**filled_between(numbers(upper), low, high, colour(index, 0.16)), "legendgroup": group.label})
        data.append(
            {
                "type": "scatter",
                "name": group.label,
                "legendgroup": group.label,
                "x": numbers(upper),
                "y": numbers(share),
                "mode": "lines",
                "line": {"shape": "hv", "color": colour(index), "width": 2, "dash": DASHES[index % len(DASHES)]},
                "hovertemplate": f"<b>{group.label}</b> %{{y:.1%}} at or below %{{x:.4~g}}<extra></extra>",
            }
        )
        rows.extend(
            (group.label, limit, cumulative) for limit, cumulative in zip(numbers(upper), numbers(share), strict=True)
        )
    layout = {
        "xaxis": {**(_axis(series, title) if log else {"title": {"text": title}}), "showgrid": True},
        "yaxis": {"title": {"text": "share at or below"}, "range": [0, 1.04], "tickformat": ".0%"},
        "hovermode": "closest",
        "showlegend": True,
        "shapes": [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": guide,
                "y1": guide,
                "layer": "below",
                "line": {"color": "var(--line-strong)", "width": 1, "dash": "dot"},
            }
            for guide in guides
        ],
        "annotations": [
            {
                "xref": "paper",
                "x": 1,
                "xanchor": "right",
                "y": guide,
                # the highest guide has room above it only, the others below
                "yanchor": "bottom" if guide == max(guides) else "top",
                "text": f"p{guide * 100:g}",
                "showarrow": False,
                "font": {"size": 11, "color": "var(--axis)"},
            }
            for guide in guides
        ],
    }
    return Chart(data, layout, Table(["Group", "At or below", "Share"], rows), footing or Footing())


def _axis(series: Sequence[EcdfSeries], title: str) -> dict[str, Any]:
    limits = [limit for group in series for limit in np.asarray(group.upper)[np.flatnonzero(group.count)] if limit > 0]
    return log_axis(title, min(limits), max(limits)) if limits else {"type": "log", "title": {"text": title}}


def _at_most(length: int) -> np.ndarray:
    """Indices of the last bin of each group of bins: a share at a bin's limit stays exact when bins are left out."""
    starts = evenly(length, MAX_COLUMNS)
    return np.append(starts[1:] - 1, length - 1)
