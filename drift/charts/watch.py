"""Slow drift and creep as pictures: days with their CUSUM against its limit, and steps summed up since the anchor."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from drift.charts.effects import MINUS
from drift.stats.metrics import METRICS, Kind
from telemetry.charts.figure import Chart, Footing, Table, number, numbers

# Where the two panels of a watched metric meet, as a share of the height.
UPPER, LOWER = (0.46, 1.0), (0.0, 0.36)


@dataclass(frozen=True)
class WatchedDays:
    """One watched metric: the mean change per day (effect units, baseline days first) and the path after the baseline.

    `limit` None means that no limit could be made. `started` is the day on which a drift is estimated to have begun.
    """

    metric: str
    days: Sequence[date]
    change: Sequence[float | None]
    path: Sequence[float]
    limit: float | None
    baseline_days: int
    margin: float
    started: date | None = None


def scale_of(metric: str) -> tuple[float, str]:
    """What effects of a metric are multiplied by for drawing, and their unit then."""
    known = METRICS.get(metric)
    if known is None:
        return 1.0, ""
    if known.relative:
        return 100.0, "%"
    return (100.0, "points") if known.kind is Kind.SHARE else (1.0, known.unit)


def cusum_chart(watched: WatchedDays, *, footing: Footing | None = None) -> Chart:
    """Above the fleet's mean change per day with the margin, below the CUSUM that adds it up against its limit."""
    factor, unit = scale_of(watched.metric)
    known = METRICS.get(watched.metric)
    harm = known.harm if known else 1
    days = [day.isoformat() for day in watched.days]
    later = days[watched.baseline_days :]
    margin = number(watched.margin * harm * factor)
    data = [
        {
            "type": "scatter",
            "x": days,
            "y": numbers([None if value is None else value * factor for value in watched.change]),
            "mode": "lines+markers",
            "name": "mean change",
            "line": {"width": 2, "color": "var(--series-1)"},
            "marker": {"size": 5, "symbol": "circle"},
            "hovertemplate": "%{y:+.3~g} " + unit + "<extra></extra>",
        },
        {
            "type": "scatter",
            "x": later,
            "y": numbers(watched.path),
            "yaxis": "y2",
            "mode": "lines+markers",
            "name": "CUSUM",
            "line": {"width": 2, "color": "var(--series-2)", "dash": "dash"},
            "marker": {"size": 5, "symbol": "diamond"},
            "hovertemplate": "CUSUM %{y:.3~g}<extra></extra>",
        },
    ]
    shapes = [
        _level(margin, "y", "--budget", "dash"),
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": days[0],
            "x1": days[min(watched.baseline_days, len(days)) - 1],
            "y0": 0,
            "y1": 1,
            "fillcolor": "var(--series-1) / 0.07",
            "line": {"width": 0},
            "layer": "below",
        },
    ]
    annotations = [
        _note(f"margin {'+' if harm > 0 else MINUS}{abs(margin):g} {unit}", "y", margin, "--budget", above=harm > 0),
        {
            "xref": "x",
            "x": days[0],
            "xanchor": "left",
            "yref": "paper",
            "y": 1,
            "yanchor": "top",
            "showarrow": False,
            "text": "baseline",
            "font": {"size": 11, "color": "var(--ink-3)"},
        },
    ]
    if watched.limit is not None:
        limit = number(watched.limit)
        shapes.append(_level(limit, "y2", "--fail", "dot"))
        annotations.append(_note(f"limit {limit:.3g}", "y2", limit, "--fail", above=True))
    if watched.started is not None:
        started = watched.started.isoformat()
        shapes.append(
            {
                "type": "line",
                "xref": "x",
                "x0": started,
                "x1": started,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": "var(--marker)", "width": 1, "dash": "dot"},
            }
        )
        annotations.append(
            {
                "xref": "x",
                "x": started,
                "xanchor": "right",
                "yref": "paper",
                "y": 0.41,
                "showarrow": False,
                "text": "began about here",
                "font": {"size": 11, "color": "var(--ink-2)"},
                "bgcolor": "var(--surface) / 0.75",
            }
        )
    top = max([*watched.path, watched.limit or 0.0, 1.0])
    layout = {
        "xaxis": {"type": "date", "anchor": "y2", "hoverformat": "%d %b %Y"},
        "yaxis": {"title": {"text": f"change, {unit}"}, "domain": list(UPPER), "zeroline": True},
        "yaxis2": {"title": {"text": "CUSUM"}, "domain": list(LOWER), "range": [0, number(top * 1.15)]},
        "hovermode": "x unified",
        "showlegend": False,
        "margin": {"l": 56, "r": 16, "t": 14, "b": 40},
        "shapes": shapes,
        "annotations": annotations,
    }
    padded = [None] * (len(days) - len(later)) + list(watched.path)
    rows = [
        (day, change, level, watched.limit if level is not None else None)
        for day, change, level in zip(days, watched.change, padded, strict=True)
    ]
    return Chart(data, layout, Table(["Day", "Mean change", "CUSUM", "Limit"], rows), footing or Footing(unit="days"))


@dataclass(frozen=True)
class SummedStep:
    """One release after another: the step's own effect, and the sum since the anchor with its interval."""

    release: str
    effect: float
    total: float
    lower: float
    upper: float
    devices: int


def creep_chart(steps: Sequence[SummedStep], *, metric: str, anchor: str, margin: float, footing: Footing) -> Chart:
    """Bars for the steps, a line with its band for the sum since the anchor, the margin as a dashed line."""
    factor, unit = scale_of(metric)
    known = METRICS.get(metric)
    harm = known.harm if known else 1
    releases = [step.release for step in steps]

    def scaled(values: Sequence[float]) -> list[float | int | None]:
        return numbers([value * factor for value in values])

    limit = number(margin * harm * factor)
    data = [
        {
            "type": "bar",
            "x": releases,
            "y": scaled([step.effect for step in steps]),
            "name": "this step",
            "marker": {"color": "var(--series-1) / 0.45", "line": {"width": 1, "color": "var(--series-1)"}},
            "customdata": [step.devices for step in steps],
            "hovertemplate": "step %{y:+.3~g} " + unit + ", n %{customdata}<extra></extra>",
        },
        {
            "type": "scatter",
            "x": [anchor, *releases],
            "y": [0, *scaled([step.total for step in steps])],
            "mode": "lines+markers",
            "name": f"since {anchor}",
            "line": {"width": 2, "color": "var(--series-2)"},
            "marker": {"size": 8, "symbol": "diamond"},
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": [0, *scaled([step.upper - step.total for step in steps])],
                "arrayminus": [0, *scaled([step.total - step.lower for step in steps])],
                "color": "var(--series-2)",
                "thickness": 1.5,
                "width": 5,
            },
            "hovertemplate": f"since {anchor} " + "%{y:+.3~g} " + unit + "<extra></extra>",
        },
    ]
    layout = {
        "xaxis": {"type": "category", "categoryorder": "array", "categoryarray": [anchor, *releases]},
        "yaxis": {"title": {"text": f"effect, {unit}"}, "zeroline": True},
        "hovermode": "x unified",
        "showlegend": True,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "margin": {"l": 56, "r": 16, "t": 34, "b": 40},
        "shapes": [_level(limit, "y", "--budget", "dash")],
        "annotations": [
            _note(f"margin {'+' if harm > 0 else MINUS}{abs(limit):g} {unit}", "y", limit, "--budget", above=harm > 0)
        ],
    }
    rows = [(step.release, step.effect, step.total, step.lower, step.upper, step.devices) for step in steps]
    return Chart(
        data, layout, Table(["Release", "Step", f"Since {anchor}", "Lower", "Upper", "Devices"], rows), footing
    )


def _level(value: float | int | None, axis: str, token: str, dash: str) -> dict[str, object]:
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "yref": axis,
        "y0": value,
        "y1": value,
        "line": {"color": f"var({token})", "width": 1.5, "dash": dash},
    }


def _note(text: str, axis: str, value: float | int | None, token: str, *, above: bool) -> dict[str, object]:
    return {
        "xref": "paper",
        "x": 1,
        "xanchor": "right",
        "yref": axis,
        "y": value,
        "yanchor": "bottom" if above else "top",
        "showarrow": False,
        "text": text,
        "font": {"size": 11, "color": f"var({token})"},
        "bgcolor": "var(--surface) / 0.75",
    }
