"""What a request asks of time series: range, filters, metric, grouping, and statistics, from its query string."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from drf_spectacular.utils import OpenApiParameter

from fleet import timerange
from fleet.exceptions import InvalidInput
from fleet.timerange import TimeRange
from telemetry.metrics import ALIASES, DEFAULT_QUANTILES, METRICS, Metric, find_metric
from telemetry.selectors.selection import DIMENSIONS, VERSIONS, Selection, parse_group_by, parse_selection

_STEP = re.compile(r"(\d{1,7})\s*([smhdw]?)")
_STEP_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_QUANTILE = re.compile(r"p?(\d{1,3}(?:\.\d{1,4})?)")
MOST_QUANTILES = 20
LONGEST_STEP = timedelta(days=366)

RANGE_PARAMETERS = [
    OpenApiParameter("from", str, description="RFC 3339, or relative such as -24h; default -24h"),
    OpenApiParameter("to", str, description="RFC 3339 or relative; default now"),
]
FILTER_PARAMETERS = [
    OpenApiParameter("workload", str, description="Slug or name"),
    OpenApiParameter("release", str, description="Version or id; several with commas, as all filters below"),
    OpenApiParameter("hardware_target", str, description="Slug or name"),
    OpenApiParameter("power_mode", str),
    *(OpenApiParameter(name, str, description="As devices reported it") for name in VERSIONS),
    OpenApiParameter("region", str, description="Slug or name"),
    OpenApiParameter("device", str, description="Serial or id: answered from the device's own roll-ups"),
    OpenApiParameter("group", str, description="Device group"),
]
GROUP_PARAMETER = OpenApiParameter(
    "group_by", str, description=f"Any of {', '.join(DIMENSIONS)} (and device, where devices are named), with commas"
)


@dataclass(frozen=True)
class Question:
    """A range, a selection and a grouping."""

    range: TimeRange
    selection: Selection
    group_by: tuple[str, ...]


def parse_question(parameters: Mapping[str, str], *, now: datetime) -> Question:
    """Range, filters and grouping of a query string.

    Raises:
        InvalidInput: one entry for every parameter that makes no sense.
    """
    errors: dict[str, str] = {}
    found: dict[str, Any] = {}
    for name, parse in (
        ("range", lambda: timerange.parse(parameters.get("from"), parameters.get("to"), now=now)),
        ("selection", lambda: parse_selection(parameters)),
        (
            "group_by",
            lambda: parse_group_by(
                parameters.get("group_by"), devices=bool(parameters.get("device") or parameters.get("group"))
            ),
        ),
    ):
        try:
            found[name] = parse()
        except InvalidInput as refusal:
            errors |= refusal.errors
    if errors:
        raise InvalidInput(errors)
    return Question(**found)


def parse_metric(text: str | None, *, with_histogram: bool = False) -> Metric:
    """The metric that `metric` names; `InvalidInput` where there is none, or none with the distribution asked for."""
    metrics = [name for name, metric in METRICS.items() if metric.histogram or not with_histogram]
    found = find_metric((text or "").strip())
    if found is None or found.name not in metrics:
        given = f"“{text}” is none of" if text else "Name one of"
        raise InvalidInput({"metric": f"{given} {', '.join(metrics)}."})
    return found


def parse_step(text: str | None) -> timedelta | None:
    """A step in seconds (300) or with a unit (5m, 1h, 1d); None where none is given."""
    if not text:
        return None
    match = _STEP.fullmatch(text.strip())
    step = timedelta(seconds=int(match[1]) * _STEP_UNITS[match[2]]) if match else timedelta(0)
    if not timedelta(0) < step <= LONGEST_STEP:
        raise InvalidInput({"step": f"“{text}” is no step: seconds, or a number with s, m, h, d or w; at most 366 d."})
    return step


def parse_quantiles(text: str | None) -> tuple[float, ...] | None:
    """Quantiles as shares (0.5,0.95) or percentiles (p50,p99.9); None where none are given."""
    if not text:
        return None
    found = []
    for part in (part.strip() for part in text.split(",") if part.strip()):
        p = _quantile(part)
        if p is None:
            raise InvalidInput({"quantiles": f"“{part}” is no quantile: shares such as 0.95, or p95."})
        found.append(p)
    if len(found) > MOST_QUANTILES:
        raise InvalidInput({"quantiles": f"At most {MOST_QUANTILES}."})
    return tuple(dict.fromkeys(found))


def _quantile(text: str) -> float | None:
    try:
        share = float(text)
    except ValueError:
        match = _QUANTILE.fullmatch(text)
        share = float(match[1]) / 100 if match else math.nan
    else:
        # 95 can only mean the 95th percentile
        share = share / 100 if 2 <= share <= 100 else share
    return share if 0 <= share <= 1 else None


@dataclass(frozen=True)
class Statistics:
    """Which figures each point carries; None means the usual ones."""

    quantiles: tuple[float, ...] | None
    stats: tuple[str, ...] | None


def parse_statistics(parameters: Mapping[str, str], metric: Metric) -> Statistics:
    """What `quantiles` and `stat` ask for; without either, the mean and the usual quantiles.

    `stat` takes the statistics of the metric, `count`, and percentiles such as p95.

    Raises:
        InvalidInput: a statistic or quantile that the metric does not have.
    """
    quantiles = parse_quantiles(parameters.get("quantiles"))
    names = [name.strip() for name in (parameters.get("stat") or "").split(",") if name.strip()]
    if quantiles and not metric.histogram:
        raise InvalidInput({"quantiles": f"{metric.name} has no distribution; it has {', '.join(metric.stats)}."})
    if not names:
        return Statistics(quantiles, None)
    stats: list[str] = []
    found = list(quantiles or ())
    for name in names:
        name = {"rate": "mean", "avg": "mean", "average": "mean", "total": "sum"}.get(name, name)
        p = _quantile(name) if _QUANTILE.fullmatch(name) else None
        if name in metric.stats:
            stats.append(name)
        elif metric.histogram and name == "quantiles":
            found += DEFAULT_QUANTILES
        elif metric.histogram and p is not None:
            found.append(p)
        elif name != "count":
            known = ["count", *metric.stats, *(["p50", "p95", "…"] if metric.histogram else [])]
            raise InvalidInput({"stat": f"{metric.name} has no “{name}”; it has {', '.join(known)}."})
    return Statistics(tuple(dict.fromkeys(found)), tuple(dict.fromkeys(stats)))


def plain(value: float) -> float | None:
    """A number for JSON: None instead of nan."""
    return None if math.isnan(value) else value


def aliases_text() -> str:
    """Every name that `metric` understands, for the description of the API."""
    return ", ".join([*METRICS, *(alias for alias in ALIASES if alias not in METRICS)])
