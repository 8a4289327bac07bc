"""The picture that gave the product its name: one confidence distribution per release, one above the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from telemetry.charts.figure import Chart, Footing, Table, colour, number, numbers

# 100 stored bins are drawn as 50: the ridge stays exact and does not flicker with single counts.
DRAWN_BINS = 50
OVERLAP = 1.75


@dataclass(frozen=True)
class Ridge:
    """One release's distribution: counts (bins,) in equal bins on [0, 1], oldest release first in a list of them."""

    label: str
    counts: np.ndarray
    note: str = ""
    accent: bool = False


def confidence_ridgeline(
    ridges: Sequence[Ridge], *, title: str = "confidence", by: str = "Release", footing: Footing | None = None
) -> Chart:
    """Densities on one scale, the newest in front at the bottom, the mean of each marked by a tick on its base line.

    Every ridge integrates to one, so that a taller ridge is a narrower one and never a busier one. `by` names what a
    ridge stands for.
    """
    shown = [ridge for ridge in ridges if np.sum(ridge.counts) > 0]
    densities = [_density(np.asarray(ridge.counts, dtype=float)) for ridge in shown]
    peak = max((float(density.max()) for density in densities), default=1.0)
    centres = (np.arange(DRAWN_BINS) + 0.5) / DRAWN_BINS
    xs = np.concatenate([[0.0], centres, [1.0]])
    data, means, annotations, ticks = [], [], [], []
    for index, (ridge, density) in enumerate(zip(shown, densities, strict=True)):
        base = float(len(shown) - 1 - index)
        heights = np.concatenate([[density[0]], density, [density[-1]]]) / peak * OVERLAP
        paint = _paint(index, len(shown), ridge)
        mean = _mean(ridge.counts)
        # two traces of which the second fills down to the first: fill "toself" would draw the base line as an outline
        data.append(
            {
                "type": "scatter",
                "x": [0, 1],
                "y": [base, base],
                "mode": "lines",
                "showlegend": False,
                "hoverinfo": "skip",
                "line": {"color": "var(--grid)", "width": 1},
            }
        )
        data.append(
            {
                "type": "scatter",
                "name": ridge.label,
                "x": numbers(xs, 4),
                "y": numbers(base + heights, 5),
                "mode": "lines",
                "fill": "tonexty",
                "fillcolor": paint["fill"],
                "line": {"color": paint["line"], "width": 2},
                "showlegend": False,
                "customdata": numbers(heights * peak / OVERLAP, 4),
                "hovertemplate": f"<b>{ridge.label}</b><br>{title} %{{x:.2f}}<br>"
                "density %{customdata:.3~g}<extra></extra>",
            }
        )
        means.append(
            {
                "type": "scatter",
                "x": [number(mean)],
                "y": [base],
                "mode": "markers",
                "showlegend": False,
                "marker": {
                    "symbol": "line-ns-open",
                    "size": 11,
                    "color": paint["line"],
                    "line": {"width": 2.5, "color": paint["line"]},
                },
                "hovertemplate": f"<b>{ridge.label}</b><br>mean {mean:.3f}<extra></extra>",
            }
        )
        annotations.append(
            {
                "xref": "paper",
                "x": 0,
                "xanchor": "left",
                "yref": "y",
                "y": base,
                "yanchor": "bottom",
                "showarrow": False,
                "align": "left",
                "text": f"<b>{ridge.label}</b>{'  ' + ridge.note if ridge.note else ''}",
                "font": {"size": 12, "color": "var(--ink)" if ridge.accent else "var(--ink-2)"},
            }
        )
        ticks.append(
            (ridge.label, int(np.sum(ridge.counts)), mean, *(_quantile(ridge.counts, p) for p in (0.05, 0.5, 0.95)))
        )
    layout = {
        "xaxis": {
            "title": {"text": title},
            "range": [0, 1],
            "tickformat": ".1f",
            "showgrid": True,
            "dtick": 0.2,
            "zeroline": False,
        },
        "yaxis": {
            "range": [-0.12, len(shown) - 1 + OVERLAP + 0.08],
            "showticklabels": False,
            "showgrid": False,
            "zeroline": False,
        },
        "hovermode": "closest",
        "showlegend": False,
        "annotations": annotations,
        "margin": {"l": 16, "r": 16, "t": 8, "b": 40},
    }
    table = Table([by, "n", "mean", "p5", "p50", "p95"], ticks)
    return Chart(data + means, layout, table, footing or Footing(count=sum(row[1] for row in ticks)))


def _paint(index: int, total: int, ridge: Ridge) -> dict[str, str]:
    """Older releases recede; the one in question stands out."""
    if ridge.accent:
        return {"line": colour(1), "fill": f"{colour(1)} over 0.5"}
    strength = 0.18 + 0.3 * (index + 1) / total
    return {"line": colour(0), "fill": f"{colour(0)} over {strength:.2f}"}


def _density(counts: np.ndarray) -> np.ndarray:
    if len(counts) % DRAWN_BINS == 0:
        counts = counts.reshape(DRAWN_BINS, -1).sum(axis=1)
    else:
        edges = np.linspace(0, 1, len(counts) + 1)
        cumulative = np.concatenate([[0.0], np.cumsum(counts)])
        counts = np.diff(np.interp(np.linspace(0, 1, DRAWN_BINS + 1), edges, cumulative))
    return counts / counts.sum() * DRAWN_BINS


def _mean(counts: np.ndarray) -> float:
    centres = (np.arange(len(counts)) + 0.5) / len(counts)
    return float(np.average(centres, weights=counts))


def _quantile(counts: np.ndarray, p: float) -> float:
    cumulative = np.concatenate([[0.0], np.cumsum(counts)]) / np.sum(counts)
    return float(np.interp(p, cumulative, np.linspace(0, 1, len(counts) + 1)))
