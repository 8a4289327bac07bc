"""Adoption: how many devices run which release over time."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from telemetry.charts.figure import PATTERNS, Chart, Footing, Marker, Table, colour, furniture, instants, time_axis


def adoption_area(
    times: Sequence[datetime],
    devices: Mapping[str, Sequence[int]],
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    markers: Sequence[Marker] = (),
    footing: Footing | None = None,
) -> Chart:
    """Stacked areas of devices heard from, one per release in the order given (oldest first, at the bottom)."""
    xs = instants(times)
    data = [
        {
            "type": "scatter",
            "name": release,
            "x": xs,
            "y": [int(n) for n in counts],
            "mode": "lines",
            "stackgroup": "devices",
            "line": {"width": 1, "color": colour(index), "shape": "hv"},
            "fillcolor": colour(index, 0.5),
            **(
                {
                    "fillpattern": {
                        "shape": PATTERNS[index % len(PATTERNS)],
                        "fgcolor": colour(index),
                        "bgcolor": colour(index, 0.35),
                        "size": 7,
                        "solidity": 0.2,
                    }
                }
                if PATTERNS[index % len(PATTERNS)]
                else {}
            ),
            "hovertemplate": f"<b>{release}</b> %{{y:,}}<extra></extra>",
        }
        for index, (release, counts) in enumerate(devices.items())
    ]
    layout = {
        "xaxis": time_axis(start, end),
        "yaxis": {"title": {"text": "devices"}, "rangemode": "tozero"},
        "hovermode": "x unified",
        "showlegend": True,
        **furniture(markers),
    }
    rows = [(moment, release, int(counts[i])) for i, moment in enumerate(times) for release, counts in devices.items()]
    return Chart(data, layout, Table(["Time", "Release", "Devices"], rows), footing or Footing(unit="devices"))
