"""The interval of one metric over the looks of a stage: how the evidence closed in on a decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drift.charts.effects import MINUS
from drift.stats.metrics import METRICS, Kind
from telemetry.charts.figure import Chart, Footing, Marker, Table, furniture, instants, number, numbers, time_axis

# Room on either side, so that the axis of a single look is not told in milliseconds.
ROOM = timedelta(seconds=30)


@dataclass(frozen=True)
class Look:
    """One look: when, the estimate with its interval (the metric's own scale), and the verdict of the metric."""

    at: datetime
    effect: float | None
    lower: float | None
    upper: float | None
    verdict: str
    n_treated: int = 0
    n_control: int = 0


def interval_over_looks(
    looks: Sequence[Look], *, metric: str, margin: float, markers: Sequence[Marker] = (), footing: Footing | None = None
) -> Chart:
    """Estimate and interval at each look against zero and the margin.

    Relative metrics are drawn in per cent, shares in points, others on their own scale.
    """
    known = METRICS.get(metric)
    factor = 100.0 if known is not None and (known.relative or known.kind is Kind.SHARE) else 1.0
    unit = (
        "%" if known is not None and known.relative else "points" if factor == 100.0 else (known.unit if known else "")
    )
    harm = known.harm if known is not None else 1

    def scaled(values: Sequence[float | None]) -> list[float | int | None]:
        return numbers([None if value is None else value * factor for value in values])

    times = instants([look.at for look in looks])
    lower, upper = scaled([look.lower for look in looks]), scaled([look.upper for look in looks])
    effect = scaled([look.effect for look in looks])
    limit = number(margin * harm * factor)
    tokens = {"fail": "--fail", "hold": "--hold", "pass": "--pass", "inconclusive": "--inconclusive"}
    symbols = {"fail": "x", "hold": "diamond", "pass": "circle", "inconclusive": "square-open"}
    data = [
        {
            "type": "scatter",
            "x": times,
            "y": lower,
            "mode": "lines",
            "line": {"width": 1, "color": "var(--series-1) / 0.6", "shape": "hv"},
            "showlegend": False,
            "hovertemplate": "lower %{y:.3~g}<extra></extra>",
            "name": "lower",
        },
        {
            "type": "scatter",
            "x": times,
            "y": upper,
            "mode": "lines",
            "line": {"width": 1, "color": "var(--series-1) / 0.6", "shape": "hv"},
            "fill": "tonexty",
            "fillcolor": "var(--series-1) / 0.16",
            "showlegend": False,
            "hovertemplate": "upper %{y:.3~g}<extra></extra>",
            "name": "upper",
        },
        {
            "type": "scatter",
            "x": times,
            "y": effect,
            "mode": "lines+markers",
            "name": known.title if known else metric,
            "line": {"width": 2, "color": "var(--series-1)"},
            "marker": {
                "size": 8,
                "symbol": [symbols.get(look.verdict, "circle-open") for look in looks],
                "color": [f"var({tokens.get(look.verdict, '--no-data')})" for look in looks],
                "line": {"width": 1.5, "color": [f"var({tokens.get(look.verdict, '--no-data')})" for look in looks]},
            },
            "customdata": [[look.verdict, look.n_treated, look.n_control] for look in looks],
            "showlegend": False,
            "hovertemplate": "<b>%{y:.3~g} "
            + unit
            + "</b> · %{customdata[0]} · n %{customdata[1]} treated, %{customdata[2]} control<extra></extra>",
        },
    ]
    parts = furniture(markers)
    parts["shapes"].append(
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": limit,
            "y1": limit,
            "line": {"color": "var(--budget)", "width": 1.5, "dash": "dash"},
        }
    )
    sign = "+" if harm > 0 else MINUS
    parts["annotations"].append(
        {
            "xref": "paper",
            "x": 1,
            "xanchor": "right",
            "y": limit,
            "yanchor": "bottom" if harm > 0 else "top",
            "showarrow": False,
            "text": f"margin {sign}{abs(limit):g} {unit}",
            "font": {"size": 11, "color": "var(--budget)"},
            "bgcolor": "var(--surface) / 0.75",
        }
    )
    layout = {
        "xaxis": time_axis(looks[0].at - ROOM, looks[-1].at + ROOM) if looks else time_axis(),
        "yaxis": {"title": {"text": f"effect, {unit}"}, "zeroline": True},
        "hovermode": "x unified",
        "showlegend": False,
        "margin": {"l": 56, "r": 16, "t": 14, "b": 40},
        **parts,
    }
    rows = [
        (look.at, look.verdict, look.effect, look.lower, look.upper, look.n_treated, look.n_control) for look in looks
    ]
    columns = ["Look at", "Verdict", "Effect", "Lower", "Upper", "n treated", "n control"]
    return Chart(data, layout, Table(columns, rows), footing or Footing(count=len(looks), unit="looks"))
