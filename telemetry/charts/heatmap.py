"""Heatmap: how a whole distribution moves over time, on the buckets in which it is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from telemetry.charts.figure import (
    MAX_COLUMNS,
    MAX_ROWS,
    Chart,
    Footing,
    Marker,
    Table,
    evenly,
    furniture,
    instant,
    instants,
    log_axis,
    number,
    numbers,
    time_axis,
)

SCALE = [[step / 5, f"var(--heat-{step})"] for step in range(6)]


@dataclass(frozen=True)
class Outline:
    """A region drawn on the heatmap: a stretch of time by a range of values."""

    start: datetime
    end: datetime
    low: float
    high: float


def value_heatmap(
    times: Sequence[datetime],
    edges: np.ndarray,
    counts: np.ndarray,
    *,
    title: str = "latency, ms",
    end: datetime | None = None,
    log: bool = True,
    quantile: Sequence[float | None] | None = None,
    quantile_name: str = "p95",
    region: Outline | None = None,
    selectable: bool = False,
    markers: Sequence[Marker] = (),
    footing: Footing | None = None,
) -> Chart:
    """Each column is one moment's distribution: colour is the share of that column's inferences in a bucket.

    times: (n,) starts of the columns, evenly spaced; edges: (m + 1,) limits of the native buckets, ascending;
    counts: (m, n). Neighbouring buckets and columns are merged (counts added, nothing resampled) until at most 300 by
    120 cells are left. `quantile` (n,), if given, is drawn over it, and the outline of `region` round a part of it.
    `selectable` lets people drag such a region.
    """
    counts = np.asarray(counts, dtype=float)
    edges = np.asarray(edges, dtype=float)
    used = np.flatnonzero(counts.sum(axis=1))
    if len(used):
        counts, edges = counts[used[0] : used[-1] + 1], edges[used[0] : used[-1] + 2]
    rows, columns = evenly(counts.shape[0], MAX_ROWS), evenly(counts.shape[1], MAX_COLUMNS)
    counts = np.add.reduceat(np.add.reduceat(counts, rows, axis=0), columns, axis=1)
    edges = np.append(edges[rows], edges[-1])
    times = [times[column] for column in columns]
    totals = counts.sum(axis=0)
    share = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    step = times[1] - times[0] if len(times) > 1 else (end - times[0] if end else None)
    xs = instants([*times, end if end else times[-1] + step] if step is not None else times)
    data = [
        {
            "type": "heatmap",
            "x": xs,
            "y": numbers(edges, 6),
            "z": [_shares(row) for row in share],
            "colorscale": SCALE,
            "zmin": 0,
            "zmax": number(np.nanquantile(share, 0.995), 3) if np.isfinite(share).any() else 1,
            "hoverongaps": False,
            "hovertemplate": "%{x|%d %b %H:%M}<br>%{y:.4~g}<br>%{z:.1%} of inferences<extra></extra>",
            "colorbar": {
                "thickness": 10,
                "len": 0.9,
                "tickformat": ".0%",
                "outlinewidth": 0,
                "title": {"text": "share", "side": "right"},
                "tickfont": {"color": "var(--axis)", "size": 11},
            },
        }
    ]
    if quantile is not None:
        data.append(
            {
                "type": "scatter",
                "name": quantile_name,
                "x": instants(times),
                "y": numbers([quantile[column] for column in columns]),
                "mode": "lines",
                "line": {"color": "var(--series-2)", "width": 1.75},
                "hovertemplate": f"{quantile_name} %{{y:.4~g}}<extra></extra>",
            }
        )
    layout = {
        "xaxis": time_axis(),
        "yaxis": log_axis(title, max(edges[0], 1e-9), edges[-1], showgrid=False)
        if log
        else {"title": {"text": title}, "showgrid": False},
        "hovermode": "closest",
        "showlegend": False,
        "margin": {"l": 56, "r": 16, "t": 36, "b": 40},
        **furniture(markers),
        "meta": {"selectable": selectable, "narrow": {"margin": {"l": 44, "r": 8, "t": 36, "b": 40}}},
    }
    if region is not None:
        layout["shapes"].append(_outline(region, float(edges[0]), float(edges[-1])))
    table = Table(
        ["Time", "n", "p50 at most", "p95 at most", "p99 at most"],
        [
            (times[j], int(totals[j]), *(_upper_limit(edges, counts[:, j], p) for p in (0.5, 0.95, 0.99)))
            for j in range(len(times))
        ],
    )
    return Chart(data, layout, table, footing or Footing(count=int(totals.sum())))


def _outline(region: Outline, lowest: float, highest: float) -> dict[str, Any]:
    """The outline, no further than the picture reaches: a region may be open to either side."""
    return {
        "type": "rect",
        "xref": "x",
        "x0": instant(region.start),
        "x1": instant(region.end),
        "yref": "y",
        "y0": number(max(region.low, lowest), 6),
        "y1": number(min(region.high, highest), 6),
        "line": {"color": "var(--series-2)", "width": 2},
        "fillcolor": "var(--series-2) / 0.12",
    }


def _shares(row: np.ndarray) -> list[float | None]:
    """An empty cell is a gap, not a zero, so that the page shows through."""
    return [number(value, 3) if np.isfinite(value) and value > 0 else None for value in row]


def _upper_limit(edges: np.ndarray, column: np.ndarray, p: float) -> float | None:
    """The upper limit of the drawn cell in which the p-quantile lies."""
    if column.sum() == 0:
        return None
    cumulative = np.cumsum(column)
    return number(edges[int(np.searchsorted(cumulative, p * cumulative[-1])) + 1])
