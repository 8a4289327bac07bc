"""One device on one time axis: releases, events, latency, temperature, energy, memory and queue, clock and gaps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from telemetry.charts.figure import (
    Chart,
    Footing,
    Span,
    Table,
    colour,
    filled_between,
    instant,
    instants,
    numbers,
    time_axis,
)

GAP_BETWEEN = 0.03
# Share of the height that each lane takes.
HEIGHTS = {
    "releases": 0.05,
    "events": 0.12,
    "latency": 0.22,
    "temperature": 0.15,
    "energy": 0.15,
    "memory": 0.1,
    "queue": 0.1,
    "clock": 0.035,
    "losses": 0.035,
}
TITLES = {
    "releases": "release",
    "events": "events",
    "latency": "latency, ms",
    "temperature": "°C",
    "energy": "mJ / inference",
    "memory": "memory, MB",
    "queue": "queue depth",
    "clock": "clock",
    "losses": "gaps",
}
# Lanes of bands alone, without a value axis.
BANDS = ("releases", "clock", "losses")
# What the clock did in a stretch, its colour, and the words for it.
CLOCK = {
    "synced": ("--pass", 0.4, "synchronised"),
    "unsynced": ("--hold", 0.6, "not synchronised"),
    "corrected": ("--fail", 0.6, "times corrected by minutes"),
}
SYMBOLS = {"info": "circle", "debug": "circle", "warning": "triangle-up", "error": "diamond", "critical": "x"}
TOKENS = {"info": "--series-7", "debug": "--series-7", "warning": "--hold", "error": "--fail", "critical": "--fail"}
MOST_EVENTS = 400


@dataclass(frozen=True)
class Event:
    """One event: its type, severity (debug to critical) and a line of detail."""

    time: datetime
    type: str
    severity: str
    detail: str = ""


@dataclass(frozen=True)
class CohortBand:
    """What devices of a cohort did, step by step: 5th percentile, median and 95th percentile over the devices."""

    lower: Sequence[float]
    median: Sequence[float]
    upper: Sequence[float]


@dataclass(frozen=True)
class DeviceLanes:
    """What there is to draw; arrays of one length on `times`, NaN where nothing was measured.

    latency_p50, latency_p95, latency_p99 in ms; temperature in °C; energy in mJ per inference; memory in MB; queue in
    inferences. `silences` are stretches without a record, `losses` what the ledger knows to be missing, `clock`
    stretches labelled with one of CLOCK. `cohort` holds, by names of `values`, what devices like this one did: the 5th
    and 95th percentile of the devices and their median.
    """

    times: Sequence[datetime]
    values: dict[str, Sequence[float]]
    releases: Sequence[Span]
    events: Sequence[Event] = ()
    throttled: Sequence[Span] = ()
    silences: Sequence[Span] = ()
    losses: Sequence[Span] = ()
    clock: Sequence[Span] = ()
    cohort: dict[str, CohortBand] = field(default_factory=dict)
    cohort_label: str = ""


def device_lanes(lanes: DeviceLanes, *, start: datetime, end: datetime, footing: Footing | None = None) -> Chart:
    """Stacked lanes that share one time axis, so that what happened together stands together.

    Lanes of what the device does not measure are left out, and the others share their room.
    """
    axes, domains = _axes([name for name in HEIGHTS if _has(lanes, name)])
    data: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    times = instants(lanes.times)
    _draw_releases(lanes.releases, start, end, domains["releases"], shapes, notes)
    data.append(_events(lanes.events))
    for name, cohort_name in (("latency", "latency_p95"), ("temperature", "temperature"), ("energy", "energy")):
        if cohort_name in lanes.cohort and name in domains:
            data += _cohort(times, lanes.cohort[cohort_name], cohort_name.replace("latency_", ""), lane=name)
    data += _latency(times, lanes.values)
    for name, index in (("temperature", 1), ("energy", 0), ("memory", 6), ("queue", 6)):
        if name in domains:
            data.append(_line(times, lanes.values[name], name, colour(index), lane=name))
    for span in lanes.throttled:
        if "temperature" in domains:
            shapes.append(_band(span, domains["temperature"], "--hold", 0.22))
        shapes.append(_band(span, domains["latency"], "--hold", 0.1))
    for span in lanes.clock:
        token, alpha, _ = CLOCK[span.label]
        shapes.append(_band(span, domains["clock"], token, alpha))
    for span in lanes.silences:
        shapes.append(_band(span, domains["losses"], "--no-data", 0.45))
    for span in lanes.losses:
        shapes.append(_band(span, domains["losses"], "--fail", 0.75))
        shapes.append(_band(span, (0, 1), "--fail", 0.06))
    for name, domain in domains.items():
        if name != "releases":
            title = _title_of(name, lanes)
            notes.append(_title(title, domain))
    layout = {
        "xaxis": {**time_axis(start, end), "anchor": "free", "position": 0},
        **axes,
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "showlegend": False,
        "shapes": shapes,
        "annotations": notes,
        "margin": {"l": 44, "r": 14, "t": 10, "b": 34},
    }
    return Chart(data, layout, _table(lanes), footing or Footing())


def _has(lanes: DeviceLanes, name: str) -> bool:
    """Whether a lane has something to show; those that every device has are always there."""
    if name == "clock":
        return bool(lanes.clock)
    if name not in ("temperature", "energy", "memory", "queue"):
        return True
    return any(value == value for value in lanes.values.get(name, ()))


def _axes(shown: Sequence[str]) -> tuple[dict[str, Any], dict[str, tuple[float, float]]]:
    """One value axis per lane from the top down, and the stretch of the height that each has."""
    scale = (1 - GAP_BETWEEN * (len(shown) - 1)) / sum(HEIGHTS[name] for name in shown)
    axes: dict[str, Any] = {}
    domains: dict[str, tuple[float, float]] = {}
    top = 1.0
    for place, (name, height) in enumerate(HEIGHTS.items()):
        if name not in shown:
            continue
        bottom = max(0.0, top - height * scale)
        domains[name] = (round(bottom, 4), round(top, 4))
        top = bottom - GAP_BETWEEN
        axis: dict[str, Any] = {
            "domain": list(domains[name]),
            "anchor": "x",
            "zeroline": False,
            "nticks": 4,
        }
        if name in BANDS:
            axis |= {"range": [0, 1], "showticklabels": False, "showgrid": False, "fixedrange": True}
        elif name == "events":
            axis |= {"type": "category", "showgrid": True, "fixedrange": True, "tickfont": {"size": 10}}
            axis["ticklabelposition"] = "inside"
        elif name in ("latency", "energy", "queue"):
            axis["rangemode"] = "tozero"
        axes["yaxis" if place == 0 else f"yaxis{place + 1}"] = axis
    return axes, domains


def _axis_of(lane: str) -> str:
    place = list(HEIGHTS).index(lane)
    return "y" if place == 0 else f"y{place + 1}"


def _line(times: Sequence[str], values: Sequence[float], name: str, paint: str, *, lane: str) -> dict[str, Any]:
    """A line that breaks where nothing was measured; a step that stands alone is a dot, or it would not be seen."""
    drawn = numbers(values)
    missing = [True, *(value is None for value in drawn), True]
    alone = [before and after for before, after in zip(missing[:-2], missing[2:], strict=True)]
    return {
        "type": "scatter",
        "name": name,
        "x": list(times),
        "y": drawn,
        "yaxis": _axis_of(lane),
        "mode": "lines+markers" if any(alone) else "lines",
        "marker": {"color": paint, "size": [4 if one else 0 for one in alone]} if any(alone) else {},
        "connectgaps": False,
        "line": {"color": paint, "width": 1.75},
        "hovertemplate": f"{name} %{{y:.4~g}}<extra></extra>",
    }


def _latency(times: Sequence[str], values: dict[str, Sequence[float]]) -> list[dict[str, Any]]:
    p50, p95, p99 = (numbers(values.get(f"latency_{name}", ())) for name in ("p50", "p95", "p99"))
    fill = {**filled_between(times, p50, p95, colour(0, 0.14)), "yaxis": _axis_of("latency")}
    thin = {"color": colour(0, 0.7), "width": 1}
    return [
        fill,
        {**_line(times, p50, "p50", thin["color"], lane="latency"), "line": thin},
        {**_line(times, p95, "p95", colour(0), lane="latency"), "line": {"color": colour(0), "width": 2.25}},
        {**_line(times, p99, "p99", thin["color"], lane="latency"), "line": {**thin, "dash": "dot"}},
    ]


def _cohort(times: Sequence[str], band: CohortBand, name: str, *, lane: str) -> list[dict[str, Any]]:
    """The cohort behind the device: where nine of ten of its devices are, and its median."""
    lower, upper = numbers(band.lower), numbers(band.upper)
    fill = {**filled_between(times, lower, upper, "var(--axis) / 0.16"), "yaxis": _axis_of(lane)}
    dashed = {"dash": "dash", "color": "var(--axis)", "width": 1.5}
    return [
        fill,
        {**_line(times, band.median, f"{name}, median of the cohort", "var(--axis)", lane=lane), "line": dashed},
    ]


def _events(events: Sequence[Event]) -> dict[str, Any]:
    shown = list(events)[-MOST_EVENTS:]
    return {
        "type": "scatter",
        "name": "events",
        "x": instants(event.time for event in shown),
        "y": [event.type.replace("_", " ") for event in shown],
        "yaxis": _axis_of("events"),
        "mode": "markers",
        "text": [event.detail for event in shown],
        "marker": {
            "size": 9,
            "symbol": [SYMBOLS.get(event.severity, "circle") for event in shown],
            "color": [f"var({TOKENS.get(event.severity, '--series-7')})" for event in shown],
        },
        "hovertemplate": "<b>%{y}</b> %{text}<extra></extra>",
    }


def _draw_releases(
    spans: Sequence[Span],
    start: datetime,
    end: datetime,
    domain: tuple[float, float],
    shapes: list[dict[str, Any]],
    notes: list[dict[str, Any]],
) -> None:
    """Bands of the releases that ran, each with its version, and a line through all lanes where one began."""
    for index, span in enumerate(spans):
        begin, finish = max(span.start, start), min(span.end or end, end)
        if finish <= begin:
            continue
        shapes.append(
            {
                **_band(Span(begin, finish), domain, f"--series-{index % 3 + 1}", 0.3),
                "line": {"width": 0},
            }
        )
        notes.append(
            {
                "xref": "x", "x": instant(begin), "xanchor": "left", "xshift": 4,
                "yref": "paper", "y": sum(domain) / 2, "yanchor": "middle",
                "text": f"<b>{span.label}</b>", "showarrow": False, "font": {"size": 11, "color": "var(--ink)"},
            }
        )  # fmt: skip
        if span.start > start:
            shapes.append(
                {
                    "type": "line", "xref": "x", "x0": instant(begin), "x1": instant(begin),
                    "yref": "paper", "y0": 0, "y1": domain[1],
                    "line": {"color": "var(--marker)", "width": 1, "dash": "dot"},
                }
            )  # fmt: skip


def _band(span: Span, domain: tuple[float, float], token: str, alpha: float) -> dict[str, Any]:
    return {
        "type": "rect", "layer": "below", "xref": "x", "x0": instant(span.start), "x1": instant(span.end or span.start),
        "yref": "paper", "y0": domain[0], "y1": domain[1], "fillcolor": f"var({token}) / {alpha}", "line": {"width": 0},
    }  # fmt: skip


def _title_of(name: str, lanes: DeviceLanes) -> str:
    """The name of a lane; those of bands alone say in words what is in them."""
    if name == "clock":
        seen = [words for kind, (_, _, words) in CLOCK.items() if any(span.label == kind for span in lanes.clock)]
        return f"clock: {', '.join(seen) or 'not known'}"
    if name == "latency" and lanes.cohort:
        return f"{TITLES[name]}, and {lanes.cohort_label}"
    if name != "losses":
        return TITLES[name]
    parts = [
        f"{len(lanes.losses)} lost" if lanes.losses else "",
        f"{len(lanes.silences)} silent" if lanes.silences else "",
    ]
    return "gaps: " + (", ".join(part for part in parts if part) or "none known")


def _title(text: str, domain: tuple[float, float]) -> dict[str, Any]:
    """The name of a lane above its left end, where a phone has room for it too."""
    return {
        "xref": "paper", "x": 0, "xanchor": "left", "xshift": 3, "yref": "paper", "y": domain[1], "yanchor": "bottom",
        "text": text, "showarrow": False, "font": {"size": 11, "color": "var(--ink-3)"},
    }  # fmt: skip


def _table(lanes: DeviceLanes) -> Table:
    names = ("latency_p50", "latency_p95", "latency_p99", "temperature", "energy", "memory", "queue")
    columns = ["Time", "p50 ms", "p95 ms", "p99 ms", "°C", "mJ", "MB", "Queue"]
    missing = [float("nan")] * len(lanes.times)
    series = [lanes.values.get(name, missing) for name in names]
    for name, title in (("latency_p95", "p95 ms"), ("temperature", "°C"), ("energy", "mJ")):
        if name in lanes.cohort:
            columns.append(f"{title}, cohort median")
            series.append(lanes.cohort[name].median)
    return Table(columns, [(moment, *values) for moment, *values in zip(lanes.times, *series, strict=True)])
