"""Energy per inference over time, by group, against its budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

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
    marked_line,
    number,
    numbers,
    time_axis,
    value_axis,
)


@dataclass(frozen=True)
class EnergySeries:
    """One group's mean energy per inference over time (mJ), with the half-width of an interval if there is one."""

    label: str
    times: Sequence[datetime]
    mean: Sequence[float | None]
    count: Sequence[int]
    half_width: Sequence[float | None] | None = None


def energy_over_time(
    series: Sequence[EnergySeries],
    *,
    title: str = "energy per inference, mJ",
    start: datetime | None = None,
    end: datetime | None = None,
    budget: float | None = None,
    markers: Sequence[Marker] = (),
    spans: Sequence[Span] = (),
    footing: Footing | None = None,
) -> Chart:
    """Means (a sum of joules over a count, never a mean of means) with the hard limit as a dashed line."""
    data, rows = [], []
    for index, group in enumerate(series):
        times, mean = instants(group.times), numbers(group.mean)
        if group.half_width is not None:
            pairs = list(zip(mean, numbers(group.half_width), strict=True))
            low, high = ([None if m is None or h is None else m + sign * h for m, h in pairs] for sign in (-1, 1))
            data.append({**filled_between(times, low, high, colour(index, 0.16)), "legendgroup": group.label})
        data.append(
            {
                "type": "scatter",
                "name": group.label,
                "legendgroup": group.label,
                "x": times,
                "y": mean,
                "connectgaps": False,
                **marked_line(index),
                "customdata": [int(n) for n in group.count],
                "hovertemplate": f"<b>{group.label}</b> %{{y:.4~g}} · n %{{customdata:,}}<extra></extra>",
            }
        )
        rows.extend(
            (moment, group.label, int(n), value)
            for moment, n, value in zip(group.times, group.count, mean, strict=True)
        )
    layout = {
        "xaxis": time_axis(start, end),
        "yaxis": value_axis(title),
        "hovermode": "x unified",
        "showlegend": True,
        **furniture(markers, spans),
    }
    if budget is not None:
        line, label = budget_line(budget, f"budget {number(budget, 4):g}")
        layout["shapes"].append(line)
        layout["annotations"].append(label)
    return Chart(data, layout, Table(["Time", "Group", "n", "Mean"], rows), footing or Footing())
