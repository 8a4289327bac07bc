"""Energy against temperature: what an inference costs cold and hot, by group."""

from collections.abc import Sequence
from dataclasses import dataclass

from telemetry.charts.figure import DASHES, SYMBOLS, Chart, Footing, Table, colour, number, numbers


@dataclass(frozen=True)
class TemperatureSeries:
    """One group's mean energy (mJ) by band; `low` the lower limits of bands of `width` degrees, in order."""

    label: str
    low: Sequence[float]
    mean: Sequence[float | None]
    count: Sequence[int]
    width: float = 10.0


def energy_by_temperature(
    series: Sequence[TemperatureSeries], *, title: str = "energy per inference, mJ", footing: Footing | None = None
) -> Chart:
    """One line per group through the middles of its bands; a band with few inferences has a small marker."""
    most = max((count for group in series for count in group.count), default=1) or 1
    data = [
        {
            "type": "scatter",
            "name": group.label,
            "x": [number(low + group.width / 2) for low in group.low],
            "y": numbers(group.mean),
            "mode": "lines+markers",
            "line": {"color": colour(index), "width": 2, "dash": "solid" if index < 4 else DASHES[index % len(DASHES)]},
            "marker": {
                "symbol": SYMBOLS[index % len(SYMBOLS)],
                "size": [number(5 + 7 * (count / most) ** 0.5, 3) for count in group.count],
                "color": colour(index),
                "line": {"color": "var(--surface)", "width": 1},
            },
            "customdata": [
                [f"{low:g} to {low + group.width:g} °C", int(count)]
                for low, count in zip(group.low, group.count, strict=True)
            ],
            "hovertemplate": f"<b>{group.label}</b> %{{customdata[0]}}<br>%{{y:.4~g}} mJ · n %{{customdata[1]:,}}"
            "<extra></extra>",
        }
        for index, group in enumerate(series)
    ]
    layout = {
        "xaxis": {"title": {"text": "temperature, °C"}, "showgrid": True, "dtick": 10, "zeroline": False},
        "yaxis": {"title": {"text": title}, "rangemode": "tozero"},
        "hovermode": "closest",
        "showlegend": True,
    }
    rows = [
        (group.label, low, low + group.width, int(count), mean)
        for group in series
        for low, count, mean in zip(group.low, group.count, numbers(group.mean), strict=True)
    ]
    return Chart(data, layout, Table(["Group", "From °C", "To °C", "n", "Mean mJ"], rows), footing or Footing())
