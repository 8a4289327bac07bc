"""Throttled minutes over time, stacked by group."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from telemetry.charts.figure import (
    PATTERNS,
    Chart,
    Footing,
    Marker,
    Table,
    colour,
    furniture,
    instants,
    numbers,
    time_axis,
    value_axis,
)


def throttled_minutes(
    times: Sequence[datetime],
    minutes: Mapping[str, Sequence[float]],
    *,
    step: timedelta,
    start: datetime | None = None,
    end: datetime | None = None,
    markers: Sequence[Marker] = (),
    footing: Footing | None = None,
) -> Chart:
    """One bar per step, cut by group; `minutes` of each group per step of length `step` from `times`."""
    data = [
        {
            "type": "bar",
            "name": group,
            "x": instants(times),
            "y": numbers(values, 4),
            "width": step / timedelta(milliseconds=1) * 0.9,
            "offset": 0,
            "marker": {
                "color": colour(index, 0.85),
                "pattern": {
                    "fillmode": "overlay",
                    "shape": PATTERNS[index % len(PATTERNS)],
                    "fgcolor": "var(--surface)",
                    "size": 7,
                    "solidity": 0.18,
                },
            },
            "hovertemplate": f"<b>{group}</b> %{{y:.3~g}} min<extra></extra>",
        }
        for index, (group, values) in enumerate(minutes.items())
    ]
    layout = {
        "xaxis": time_axis(start, end),
        "yaxis": value_axis("device-minutes throttled"),
        "barmode": "stack",
        "hovermode": "x unified",
        "showlegend": True,
        **furniture(markers),
    }
    rows = [(moment, group, values[k]) for k, moment in enumerate(times) for group, values in minutes.items()]
    return Chart(data, layout, Table(["Time", "Group", "Minutes"], rows), footing or Footing(unit="devices"))
