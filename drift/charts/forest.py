"""Forest plot: every metric's effect with its interval, on one scale on which 1 is the margin."""

from collections.abc import Sequence
from typing import Any

from drift.charts.effects import MINUS, Effect, effect_text, interval_text
from telemetry.charts.figure import Chart, Footing, Table, number

# Further out than this an interval is cut with an arrow, so that one wild metric does not flatten the others.
REACH = 4.0
SYMBOLS = {"pass": "circle", "fail": "x", "hold": "diamond", "inconclusive": "square-open"}


def forest_plot(effects: Sequence[Effect], *, footing: Footing | None = None) -> Chart:
    """One row per effect, in the order given; harm is to the right, the dashed line is the margin.

    Metrics have different units, so the axis is in margins (effect toward harm over margin); the text at the right and
    the table give each in its own unit.
    """
    shown = [effect for effect in effects if effect.effect is not None]
    labels = [effect.label for effect in shown]
    data, annotations = [], []
    for effect in shown:
        # toward harm: for a metric where less is worse the interval's ends change places
        ends = sorted(
            _cut(effect.in_margins(end), side)
            for end, side in ((effect.lower, -effect.harm), (effect.upper, effect.harm))
        )
        tone = f"var({effect.token})"
        data.append(
            {
                "type": "scatter",
                "x": ends,
                "y": [effect.label] * 2,
                "mode": "lines",
                "line": {"color": f"{tone} / 0.55", "width": 5},
                "showlegend": False,
                "hoverinfo": "skip",
            }
        )
        data.append(
            {
                "type": "scatter",
                "x": [_cut(effect.in_margins(effect.effect), 1)],
                "y": [effect.label],
                "mode": "markers",
                "showlegend": False,
                "marker": {
                    "color": tone,
                    "size": 11,
                    "symbol": SYMBOLS.get(effect.verdict, "circle-open"),
                    "line": {"width": 2, "color": tone},
                },
                "hovertemplate": (
                    f"<b>{effect.label}</b><br>{effect_text(effect.metric, effect.effect)}, "
                    f"{interval_text(effect.metric, effect.lower, effect.upper)}"
                    f"<br>margin {effect_text(effect.metric, effect.margin * effect.harm)}"
                    f"<br>n {effect.n_treated} treated, {effect.n_control} control<extra></extra>"
                ),
            }
        )
        annotations.append(
            {
                "xref": "paper",
                "x": 1.01,
                "xanchor": "left",
                "yref": "y",
                "y": effect.label,
                "showarrow": False,
                "align": "left",
                "text": f"{effect_text(effect.metric, effect.effect)}",
                "font": {"size": 12, "color": tone},
            }
        )
    axis = {
        "title": {"text": "effect toward harm, in margins"},
        "range": [-REACH * 0.75, REACH],
        "zeroline": True,
        "tickangle": 0,
        "showgrid": True,
    }
    layout = {
        "xaxis": axis | _ticks(-2, -1, 0, 1, 2, 3, 4),
        # on a phone the word would run into its neighbours
        "meta": {"narrow": {"xaxis": axis | _ticks(-2, 1, 4)}},
        "yaxis": {"type": "category", "categoryorder": "array", "categoryarray": labels[::-1], "showgrid": False},
        "hovermode": "closest",
        "showlegend": False,
        "margin": {"l": 120, "r": 96, "t": 12, "b": 44},
        "annotations": annotations,
        "shapes": [
            {
                "type": "line",
                "xref": "x",
                "x0": 1,
                "x1": 1,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": "var(--budget)", "width": 1.5, "dash": "dash"},
            }
        ],
    }
    rows = [(e.label, e.verdict, e.effect, e.lower, e.upper, e.margin, e.n_treated, e.n_control) for e in effects]
    columns = ["Metric", "Verdict", "Effect", "Lower", "Upper", "Margin", "n treated", "n control"]
    return Chart(data, layout, Table(columns, rows), footing or Footing(unit="devices"))


def _ticks(*margins: int) -> dict[str, Any]:
    words = [f"{m}".replace("-", MINUS) if m != 1 else "margin" for m in margins]
    return {"tickvals": list(margins), "ticktext": words}


def _cut(value: float | None, side: int) -> float:
    """An end inside the axis; a missing end lies at the axis' edge on its side."""
    if value is None:
        return REACH if side > 0 else -REACH
    return number(min(REACH, max(-REACH, value)))
