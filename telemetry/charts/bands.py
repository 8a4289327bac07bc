"""Percentile bands over time: p50, p95 and p99 of one measure, by group, with deploy markers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from telemetry.charts.figure import (
    Chart,
    Footing,
    Marker,
    Span,
    Table,
    budget_line,
    colour,
    filled_between,
    furniture,
    instants,
    log_axis,
    marked_line,
    number,
    numbers,
    time_axis,
    value_axis,
)

# More bands than these cover one another.
MOST_WITH_BANDS = 3


@dataclass(frozen=True)
class BandSeries:
    """One group's percentiles over time; arrays of one length, NaN or None where nothing was measured."""

    label: str
    times: Sequence[datetime]
    p50: Sequence[float | None]
    p95: Sequence[float | None]
    p99: Sequence[float | None]
    count: Sequence[int]


def percentile_bands(
    series: Sequence[BandSeries],
    *,
    title: str,
    start: datetime | None = None,
    end: datetime | None = None,
    log: bool = False,
    budget: float | None = None,
    budget_label: str = "budget p95",
    markers: Sequence[Marker] = (),
    spans: Sequence[Span] = (),
    footing: Footing | None = None,
) -> Chart:
    """One colour and marker per group: p95 strong, p50 thin below it with the band between filled, p99 dotted above.

    With more than three groups only the p95 lines are drawn; the table has all percentiles all the same.

    `title` names measure and unit ("latency, ms"), in which the percentiles and the budget are given. Percentiles
    come from merged histograms; they are never averaged here.
    """
    data = []
    crowded = len(series) > MOST_WITH_BANDS
    for index, group in enumerate(series):
        times = instants(group.times)
        p50, p95, p99 = numbers(group.p50), numbers(group.p95), numbers(group.p99)
        common = {"type": "scatter", "x": times, "legendgroup": group.label, "connectgaps": False}
        if not crowded:
            data.append({**filled_between(times, p50, p95, colour(index, 0.11)), "legendgroup": group.label})
            data.append(
                {
                    **common,
                    "name": f"{group.label} p50",
                    "y": p50,
                    "mode": "lines",
                    "showlegend": False,
                    "line": {"color": colour(index, 0.75), "width": 1},
                    "hovertemplate": "p50 %{y:.4~g}<extra></extra>",
                }
            )
        data.append(
            {
                **common,
                **marked_line(index),
                "name": group.label,
                "y": p95,
                "customdata": [int(count) for count in group.count],
                "hovertemplate": f"<b>{group.label}</b> p95 %{{y:.4~g}} · n %{{customdata:,}}<extra></extra>",
            }
        )
        if not crowded:
            data.append(
                {
                    **common,
                    "name": f"{group.label} p99",
                    "y": p99,
                    "mode": "lines",
                    "showlegend": False,
                    "line": {"color": colour(index, 0.6), "width": 1, "dash": "dot"},
                    "hovertemplate": "p99 %{y:.4~g}<extra></extra>",
                }
            )
    layout = {
        "xaxis": time_axis(start, end),
        "yaxis": _axis(series, title, budget) if log else value_axis(title),
        "hovermode": "x unified",
        "showlegend": True,
        **furniture(markers, spans),
    }
    if budget is not None:
        line, label = budget_line(budget, f"{budget_label} {number(budget, 4):g}")
        if log:  # plotly places annotations of a log axis by exponent, shapes by value
            label["y"] = number(math.log10(budget))
        layout["shapes"].append(line)
        layout["annotations"].append(label)
    rows = [
        (moment, group.label, int(count), p50, p95, p99)
        for group in series
        for moment, count, p50, p95, p99 in zip(
            group.times, group.count, numbers(group.p50), numbers(group.p95), numbers(group.p99), strict=True
        )
    ]
    return Chart(data, layout, Table(["Time", "Group", "n", "p50", "p95", "p99"], rows), footing or Footing())


def _axis(series: Sequence[BandSeries], title: str, budget: float | None) -> dict[str, Any]:
    known = [value for group in series for part in (group.p50, group.p99) for value in numbers(part) if value]
    known += [budget] if budget else []
    return log_axis(title, min(known), max(known)) if known else {"type": "log", "title": {"text": title}}
