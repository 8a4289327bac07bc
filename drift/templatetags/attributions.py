"""Template tag for attributions: what drift.services.attribution wrote down, as rows with bars for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import template

from drift.stats.attribution import WITHIN
from drift.stats.metrics import METRICS
from fleet.templatetags.numbers import DASH, MINUS, signed_percent

register = template.Library()

LABELS = {
    WITHIN: ("Under like conditions", "model, runtime, or something not recorded"),
    "power_mode": ("Power modes", "more or less time in each"),
    "throttled": ("Throttling", "more or less of it"),
    "temperature_band": ("Temperature", "warmer or cooler"),
    "quality_band": ("Input quality", "sharper or poorer inputs"),
    "fallback": ("Fallback", "more or less of it"),
}
# The filters of Explore that what a change is concentrated on leads into, by the label that was written down.
FILTERS = {
    "Firmware": "firmware_version",
    "Driver": "driver_version",
    "Runtime": "runtime_version",
    "Power mode": "power_mode",
    "Release": "release",
    "Region": "region",
}
NOT_REPORTED = "not reported"
UNITS = {"latency": "ms", "energy": "mJ", "confidence": ""}
NOUNS = {"latency": "Mean latency", "energy": "Mean energy per inference", "confidence": "Mean confidence"}
# Of the bar's width, on either side of zero.
_HALF = 50.0
# Of the longest bar: below this a part is rounding.
_NOTHING = 1e-3


@dataclass(frozen=True)
class Bar:
    """A component's place on a line from 0 to 100 with no change in the middle."""

    start: float
    width: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Line:
    """One component: its part of the difference in words, its share of it, and its bar; the same part in each arm."""

    label: str
    note: str
    value: str
    interval: str
    treated: str
    control: str
    share: str
    shown: bool
    bar: Bar


@dataclass(frozen=True)
class Shown:
    """An attribution as its partial shows it; without a decomposition `lines` is empty and `total` None.

    `nothing` names the parts that have no share at all, in no device.
    """

    title: str
    noun: str
    total: Line | None
    lines: list[Line]
    nothing: list[str]
    explained: float | None
    unexplained: float | None
    n_treated: int
    n_control: int
    readings: list[Mapping[str, Any]]
    concentration: list[Mapping[str, Any]]
    caveat: str


@register.simple_tag
def shown_attributions(attribution: Mapping[str, Any] | None) -> list[Shown]:
    """What to show of an attribution, or of several by hardware target."""
    if not attribution:
        return []
    if _is_one(attribution):
        return [_shown("", attribution)]
    parts = [(name, part) for name, part in attribution.items() if isinstance(part, Mapping) and _is_one(part)]
    return [_shown(name, part) for name, part in parts]


def _is_one(attribution: Mapping[str, Any]) -> bool:
    return bool({"components", "readings", "concentration"} & attribution.keys())


def _shown(title: str, attribution: Mapping[str, Any]) -> Shown:
    metric = METRICS.get(str(attribution.get("metric", "")))
    source = metric.source if metric else ""
    unit = UNITS.get(source, "")
    components = attribution.get("components") or []
    total = attribution.get("total")
    parts = [part["difference"] for part in (*components, *([total] if total else []))]
    reach = max((abs(part[end]) for part in parts for end in ("value", "lower", "upper")), default=0.0) or 1.0
    some = [part for part in components if not _is_nothing(part["difference"], reach)]
    ordered = sorted(some, key=lambda part: -abs(part["difference"]["value"]))
    return Shown(
        title=title,
        noun=NOUNS.get(source, "The metric"),
        total=_line("The whole change", "", total, unit, reach) if total else None,
        lines=[_line(*LABELS.get(part["name"], (part["name"], "")), part, unit, reach) for part in ordered],
        nothing=[LABELS.get(part["name"], (part["name"], ""))[0].lower() for part in components if part not in some],
        explained=attribution.get("explained_share"),
        unexplained=attribution.get("unexplained_share"),
        n_treated=attribution.get("n_treated") or 0,
        n_control=attribution.get("n_control") or 0,
        readings=attribution.get("readings") or [],
        concentration=[
            {**place, "filter": FILTERS.get(place.get("label"), "") if place.get("value") != NOT_REPORTED else ""}
            for place in attribution.get("concentration") or []
        ],
        caveat=attribution.get("caveat") or "",
    )


def _is_nothing(difference: Mapping[str, float], reach: float) -> bool:
    return all(abs(difference[end]) < _NOTHING * reach for end in ("value", "lower", "upper"))


def _line(label: str, note: str, part: Mapping[str, Any], unit: str, reach: float) -> Line:
    difference = part["difference"]
    value, lower, upper = (difference[name] for name in ("value", "lower", "upper"))
    place = [_HALF + _HALF * end / reach for end in (value, lower, upper)]
    control = part.get("control")
    return Line(
        label=label,
        note=note,
        value=_text(value, unit),
        interval=f"{_text(lower, '')} to {_text(upper, unit)}",
        treated=_text(part["treated"]["value"], unit),
        control=_text(control["value"], unit) if control else "",
        share=share_text(part.get("share")),
        shown=lower > 0 or upper < 0,
        bar=Bar(
            round(min(place[0], _HALF), 2),
            round(max(abs(place[0] - _HALF), 0.4), 2),
            round(place[1], 2),
            round(place[2], 2),
        ),
    )


@register.filter
def share_text(share: float | None) -> str:
    """-0.284 -> −28 %, a share of a change; a dash for none."""
    return DASH if share is None else signed_percent(share, 0).removeprefix("+")


def _text(value: float, unit: str) -> str:
    size = abs(value)
    text = f"{value:+.1f}" if size >= 10 else f"{value:+.2f}" if size >= 1 else f"{value:+.3f}"
    text = text if float(text) else text[1:]
    return f"{text.replace('-', MINUS)}{' ' + unit if unit else ''}"
