"""What every chart is made of: a Plotly figure, the table of the same numbers, what it rests on, and common parts.

Colours are names of CSS tokens ("var(--series-1)", transparent "var(--series-1) / 0.2", thin but opaque
"var(--series-1) over 0.2"); the browser resolves them, so that one figure serves the light and the dark theme.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any

import numpy as np

# A chart never carries more cells than a screen can show.
MAX_COLUMNS = 300
MAX_ROWS = 120
SERIES = 7
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "triangle-down", "star")
# Fill patterns for areas and bars, so that neighbours differ without colour.
PATTERNS = ("", "/", ".", "\\", "x", "-", "+")


@dataclass(frozen=True)
class Table:
    """The numbers of a chart as rows; the toggle under the chart, CSV and JSON all show these."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Footing:
    """What a chart rests on, shown under it: how fresh, how many, how fine, how complete (0 to 1, None if unknown)."""

    as_of: datetime | None = None
    count: int | None = None
    unit: str = "inferences"
    resolution: str = ""
    completeness: float | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Empty:
    """Why there is nothing to draw, and where the remedy is."""

    cause: str
    title: str
    text: str
    remedy_label: str = ""
    remedy_url: str = ""

    @classmethod
    def no_data_in_range(cls, label: str, wider_url: str = "") -> "Empty":
        """Nothing was measured in the range that is looked at."""
        return cls(
            "no_data_in_range",
            "No data in this range",
            f"Nothing was measured in {label}.",
            "Look at 30 days",
            wider_url,
        )

    @classmethod
    def not_measured(cls, label: str) -> "Empty":
        """There are inferences, but none of them says what the chart is about."""
        return cls(
            "not_measured",
            "Not measured",
            f"Devices sent inferences in {label}, but not what this chart shows.",
        )

    @classmethod
    def filtered_out(cls, clear_url: str) -> "Empty":
        """There are data in the range, and the filters leave none of them."""
        return cls(
            "filtered_out",
            "The filters leave nothing",
            "There are data in this range, but none match every filter.",
            "Clear the filters",
            clear_url,
        )

    @classmethod
    def still_aggregating(cls) -> "Empty":
        """Records have arrived and are not folded yet."""
        return cls(
            "still_aggregating",
            "Still being aggregated",
            "Records have arrived and will be on this chart within a minute.",
        )

    @classmethod
    def rejected(cls, count: int, ingest_url: str) -> "Empty":
        """Devices send, and what they send is refused."""
        return cls(
            "rejected",
            "Records were rejected",
            f"{count:,} records of this selection were refused on arrival.",
            "See why",
            ingest_url,
        )

    @classmethod
    def no_device(cls, url: str) -> "Empty":
        """No device exists to measure anything."""
        return cls("no_device", "No device yet", "Nothing has enrolled that could send.", "Enrol a device", url)


@dataclass(frozen=True)
class Marker:
    """A moment that a time chart shows: a release that arrived, a stage that began."""

    time: datetime
    label: str
    token: str = "--marker"


@dataclass(frozen=True)
class Span:
    """A stretch of time that a time chart shades: throttling, a gap, a stage; `end` None means up to the right edge."""

    start: datetime
    end: datetime | None
    label: str = ""
    token: str = "--hold"


@dataclass(frozen=True)
class Chart:
    """One chart, ready to be answered as JSON or CSV."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]
    table: Table
    footing: Footing = field(default_factory=Footing)
    empty: Empty | None = None

    @classmethod
    def nothing(cls, empty: Empty, footing: Footing | None = None) -> "Chart":
        """A chart that says why it is empty."""
        return cls([], {}, Table([], []), footing or Footing(), empty)

    def to_dict(self) -> dict[str, Any]:
        """The chart as static/js/charts.js reads it; times are RFC 3339, missing numbers null."""
        foot = self.footing
        return {
            "figure": {"data": _as_text(self.data), "layout": _as_text(self.layout)},
            "table": {
                "columns": list(self.table.columns),
                "rows": [[cell(value) for value in row] for row in self.table.rows],
            },
            "foot": {
                "as_of": instant(foot.as_of) if foot.as_of else None,
                "count": foot.count,
                "unit": foot.unit,
                "resolution": foot.resolution,
                "completeness": foot.completeness,
                "notes": list(foot.notes),
            },
            "empty": vars(self.empty) if self.empty else None,
        }


_NUMBERS = frozenset((int, float, bool, type(None)))
# What charts mark up by themselves; plotly reads more (links, spans) in every text that it shows.
_OWN_MARKUP = re.compile(r"(</?b>|<br>|</?extra>)")


def _as_text(node: Any) -> Any:
    """A part of a figure in which whatever is not a chart's own markup shows as the text that it is.

    Names of releases, classes and devices come from outside, and stand in names, hover texts, ticks and annotations.
    """
    if isinstance(node, str):
        parts = _OWN_MARKUP.split(node)
        return "".join(part if place % 2 else escape(part, quote=False) for place, part in enumerate(parts))
    if isinstance(node, Mapping):
        # an address is followed, not shown
        return {key: value if key == "url" else _as_text(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        # a heatmap has thousands of numbers and no word among them
        return node if _NUMBERS.issuperset(map(type, node)) else [_as_text(value) for value in node]
    return node


def colour(index: int, alpha: float | None = None) -> str:
    """The token of the index-th series, transparent by `alpha` if given."""
    token = f"var(--series-{index % SERIES + 1})"
    return token if alpha is None else f"{token} / {alpha:g}"


def instant(moment: datetime) -> str:
    """RFC 3339 in UTC, which the browser turns into the zone that the reader chose."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instants(moments: Iterable[datetime]) -> list[str]:
    """Many moments as RFC 3339."""
    return [instant(moment) for moment in moments]


def number(value: float | None, digits: int = 5) -> float | int | None:
    """A number to `digits` significant digits, None for a missing one (None or NaN)."""
    if value is None:
        return None
    value = float(value)
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def numbers(values: Iterable[float | None], digits: int = 5) -> list[float | int | None]:
    """Many numbers as JSON has them; a gap stays a gap."""
    return [number(value, digits) for value in values]


def cell(value: Any) -> Any:
    """A value of a table: moments as RFC 3339, numpy numbers as plain ones, NaN as null."""
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return number(value, 7)
    return value


def time_axis(start: datetime | None = None, end: datetime | None = None) -> dict[str, Any]:
    """A time axis; with both ends given it shows the whole range, so that a missing stretch is seen as missing."""
    axis: dict[str, Any] = {"type": "date", "hoverformat": "%d %b %H:%M"}
    if start and end:
        axis["range"] = [instant(start), instant(end)]
    return axis


def value_axis(title: str, **more: Any) -> dict[str, Any]:
    """A linear value axis that begins at zero, with its unit in the title."""
    return {"title": {"text": title}, "rangemode": "tozero", **more}


def log_axis(title: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    """A logarithmic axis over [low, high] with few ticks, each written in full (plotly's own drop the zeros)."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8), (1, 2, 3, 5, 7), (1, 2, 5), (1,)):
        ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
        if len([tick for tick in ticks if low <= tick <= high]) <= 8:
            break
    return {"type": "log", "title": {"text": title}, "tickvals": ticks, "ticktext": [f"{t:g}" for t in ticks], **more}


def furniture(markers: Sequence[Marker] = (), spans: Sequence[Span] = ()) -> dict[str, Any]:
    """Layout parts for deploy markers (dotted lines with their label on top) and shaded spans."""
    shapes: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for span in spans:
        shapes.append(
            {
                "type": "rect",
                "layer": "below",
                "xref": "x",
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"width": 0},
                "x0": instant(span.start),
                "x1": instant(span.end) if span.end else instant(datetime.max.replace(tzinfo=UTC)),
                "fillcolor": f"var({span.token}) / 0.12",
            }
        )
        if span.label:
            annotations.append(_label(span.start, span.label, span.token))
    for marker in markers:
        shapes.append(
            {
                "type": "line",
                "xref": "x",
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "x0": instant(marker.time),
                "x1": instant(marker.time),
                "line": {"color": f"var({marker.token})", "width": 1, "dash": "dot"},
            }
        )
        annotations.append(_label(marker.time, marker.label, marker.token))
    return {"shapes": shapes, "annotations": annotations}


def marked_line(index: int, *, width: float = 2.0) -> dict[str, Any]:
    """The look of the index-th line over time: its colour, its dash, and its marker at a few places along it.

    A marker at every point would hide the line, and a dash alone is lost in a jagged one.
    """
    return {
        "mode": "lines+markers",
        "line": {"color": colour(index), "width": width, "dash": "solid" if index < 4 else DASHES[index % len(DASHES)]},
        "marker": {
            "symbol": SYMBOLS[index % len(SYMBOLS)],
            "size": 8,
            "maxdisplayed": 9,
            "color": colour(index),
            "line": {"color": "var(--surface)", "width": 1},
        },
    }


def filled_between(
    xs: Sequence[Any], lower: Sequence[float | None], upper: Sequence[float | None], fill: str
) -> dict[str, Any]:
    """A trace that fills between two lines, as one closed outline per stretch without a gap.

    Plotly's own fill to the next trace runs on across gaps, which would show a range where nothing was measured.
    """
    x: list[Any] = []
    y: list[Any] = []
    stretch: list[tuple[Any, float, float]] = []
    for point in [*zip(xs, lower, upper, strict=True), (None, None, None)]:
        if point[1] is not None and point[2] is not None:
            stretch.append(point)
        elif stretch:
            x += [p[0] for p in stretch] + [p[0] for p in reversed(stretch)] + [None]
            y += [p[2] for p in stretch] + [p[1] for p in reversed(stretch)] + [None]
            stretch = []
    return {
        "type": "scatter",
        "x": x[:-1],
        "y": y[:-1],
        "mode": "none",
        "fill": "toself",
        "fillcolor": fill,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def budget_line(value: float, label: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A shape and its annotation for a hard limit at `value` of the first value axis (a linear one)."""
    line = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "yref": "y",
        "y0": number(value),
        "y1": number(value),
        "line": {"color": "var(--budget)", "width": 1.5, "dash": "dash"},
    }
    text = {
        "xref": "paper",
        "x": 1,
        "xanchor": "right",
        "yref": "y",
        "y": number(value),
        "yanchor": "bottom",
        "text": label,
        "showarrow": False,
        "font": {"color": "var(--budget)", "size": 11},
        "bgcolor": "var(--surface) / 0.75",
        "borderpad": 1,
    }
    return line, text


def evenly(length: int, at_most: int) -> np.ndarray:
    """Edges that fold `length` cells into at most `at_most` groups of one size (the last one may be smaller)."""
    size = max(1, math.ceil(length / at_most))
    return np.arange(0, length, size)


def _label(moment: datetime, text: str, token: str) -> dict[str, Any]:
    return {
        "xref": "x",
        "x": instant(moment),
        "yref": "paper",
        "y": 1,
        "yanchor": "bottom",
        "xanchor": "left",
        "xshift": -2,
        "text": text,
        "showarrow": False,
        "font": {"size": 11, "color": f"var({token})"},
    }
