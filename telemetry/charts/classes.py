"""Class mix: which classes a release predicts, as shares that add up to one."""

from collections.abc import Mapping, Sequence

from telemetry.charts.figure import PATTERNS, Chart, Footing, Table, colour, number

OTHER = "all others"


def class_mix_bars(
    groups: Mapping[str, Mapping[str, int]],
    *,
    pooled_below: float = 0.01,
    most: int = 6,
    footing: Footing | None = None,
) -> Chart:
    """One bar per group (release), cut by class; classes under `pooled_below` or beyond the `most` are pooled."""
    totals = {group: sum(counts.values()) for group, counts in groups.items()}
    shares = {
        group: {name: count / totals[group] for name, count in counts.items()}
        for group, counts in groups.items()
        if totals[group]
    }
    largest: dict[str, float] = {}
    for mix in shares.values():
        for name, share in mix.items():
            largest[name] = max(largest.get(name, 0.0), share)
    named = [
        name for name, share in sorted(largest.items(), key=lambda item: (-item[1], item[0])) if share >= pooled_below
    ][:most]
    rest = {group: max(0.0, 1.0 - sum(mix.get(name, 0.0) for name in named)) for group, mix in shares.items()}
    columns = [*named, OTHER] if any(share > 1e-9 for share in rest.values()) else named
    labels = list(shares)

    def share_of(group: str, name: str) -> float:
        return rest[group] if name == OTHER else shares[group].get(name, 0.0)

    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": labels,
            "x": [number(share_of(group, name)) for group in labels],
            "marker": {
                "color": colour(index, 0.8) if name != OTHER else "var(--surface-3)",
                "line": {"width": 1, "color": "var(--surface)"},
                "pattern": {
                    "fillmode": "overlay",
                    "shape": PATTERNS[index % len(PATTERNS)],
                    "fgcolor": "var(--surface)",
                    "size": 7,
                    "solidity": 0.18,
                },
            },
            "hovertemplate": f"<b>%{{y}}</b> {name} %{{x:.1%}}<extra></extra>",
        }
        for index, name in enumerate(columns)
    ]
    layout = {
        "barmode": "stack",
        "bargap": 0.35,
        "hovermode": "closest",
        "showlegend": True,
        "xaxis": {"tickformat": ".0%", "range": [0, 1], "title": {"text": "share of inferences"}},
        "yaxis": {"type": "category", "autorange": "reversed", "showgrid": False},
    }
    rows = _rows(labels, columns, share_of, totals)
    return Chart(
        data, layout, Table(["Group", "n", "Class", "Share"], rows), footing or Footing(count=sum(totals.values()))
    )


def _rows(labels: Sequence[str], columns: Sequence[str], share_of, totals: Mapping[str, int]) -> list[tuple]:
    return [(group, totals[group], name, share_of(group, name)) for group in labels for name in columns]
