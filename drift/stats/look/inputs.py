"""What a look is given: cohorts, values before and since, margins, and the state that the previous look left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from drift.stats import metrics as registry

SCHEMA = "ridgeline.look/2"
# Evidence under the first schema describes no metrics beside the tested ones, and is read and judged as ever.
READABLE = ("ridgeline.look/1", SCHEMA)

Values = Sequence[float | None]
CountRows = Sequence[Sequence[int] | None]


class LookInputError(ValueError):
    """A look was given something it cannot judge; the message names the field."""


@dataclass(frozen=True)
class MetricInput:
    """Device values of one metric (see `summaries.metric_values`), aligned with the devices; None: no value.

    `recent` is None as long as the recent windows are all there is. `margins` and `limits` are by lane, "*" for all
    others: margins in effect units (positive), limits in the metric's own unit. `required` says that the budget names
    this metric, so that its absence holds up a pass.
    """

    name: str
    pre: Values
    post: Values
    recent: Values | None = None
    margins: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    required: bool = False

    def margin(self, lane: str) -> float:
        """The margin of a lane in effect units."""
        return self.margins.get(lane, self.margins.get("*", registry.metric(self.name).margin))

    def limit(self, lane: str) -> float | None:
        """The absolute limit of a lane in the metric's own unit, or None."""
        return self.limits.get(lane, self.limits.get("*"))


@dataclass(frozen=True)
class DescribedInput:
    """Device values of one metric that is reported and not tested, aligned with the devices; None: no value."""

    name: str
    pre: Values
    post: Values


@dataclass(frozen=True)
class ShapeInput:
    """Counts per bin or class of each device; a row of None: nothing. `margin` overrides the practical size."""

    name: str
    labels: Sequence[str]
    pre: CountRows
    post: CountRows
    recent: CountRows | None = None
    margin: float | None = None


@dataclass(frozen=True)
class HardLimit:
    """An absolute limit that acts at once when two or more treated devices of a lane break it; no statistics.

    `values` is aligned with the devices (crash rate, hours since the last heartbeat, …); `harm` +1: above breaks it.
    `lane` names the one lane that it is a limit of, "*" all of them.
    """

    name: str
    limit: float
    values: Values
    harm: int = 1
    unit: str = ""
    lane: str = "*"


@dataclass(frozen=True)
class LookInput:
    """One look at one stage of a rollout, all lanes together; the JSON form is documented in `drift.stats.look`.

    `reporting`: heard from at all since the stage began (None: any value counts). `inferences`: how many since then,
    which bounds what a share without any event can exclude (None: no such bound). `described` are metrics that are
    reported beside the judged ones: no verdict, bound or state depends on them.
    """

    devices: Sequence[str]
    treated: Sequence[int]
    strata: Sequence[str]
    lanes: Sequence[str]
    look: int
    planned_looks: int
    hours: float
    seed: int
    metrics: Sequence[MetricInput]
    shapes: Sequence[ShapeInput] = ()
    reporting: Sequence[int] | None = None
    inferences: Sequence[int] | None = None
    hard_limits: Sequence[HardLimit] = ()
    stopped_lanes: Sequence[str] = ()
    minimum_hours: float = 24.0
    alpha: float = 0.05
    stages: int = 1
    permutations: int = 10_000
    randomised: bool = True
    state: Mapping[str, Any] | None = None
    described: Sequence[DescribedInput] = ()

    def __post_init__(self) -> None:
        _validate(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, canonical once sorted: what evidence freezes."""
        data: dict[str, Any] = {"schema": SCHEMA}
        for item in fields(self):
            data[item.name] = _plain(getattr(self, item.name))
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LookInput:
        """The inverse of `to_dict`; raises LookInputError naming a field that is missing, unknown or wrong."""
        if data.get("schema") not in READABLE:
            raise LookInputError(f"schema: expected {SCHEMA!r}, got {data.get('schema')!r}")
        values = {key: value for key, value in data.items() if key != "schema"}
        values["metrics"] = [_build(MetricInput, item, "metrics") for item in values.get("metrics", [])]
        values["shapes"] = [_build(ShapeInput, item, "shapes") for item in values.get("shapes", [])]
        values["hard_limits"] = [_build(HardLimit, item, "hard_limits") for item in values.get("hard_limits", [])]
        values["described"] = [_build(DescribedInput, item, "described") for item in values.get("described", [])]
        return _build(cls, values, "look")


def _build(kind: type, values: Mapping[str, Any], place: str) -> Any:
    names = {item.name for item in fields(kind)}
    if unknown := sorted(set(values) - names):
        raise LookInputError(f"{place}: unknown field {unknown[0]!r}")
    try:
        return kind(**values)
    except TypeError as error:
        raise LookInputError(f"{place}: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, (MetricInput, DescribedInput, ShapeInput, HardLimit)):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return value


def _validate(look: LookInput) -> None:
    count = len(look.devices)
    if count == 0:
        raise LookInputError("devices: at least one is needed")
    if len(set(look.devices)) != count:
        raise LookInputError("devices: an id occurs twice")
    for name in ("treated", "strata", "lanes"):
        _aligned(name, getattr(look, name), count)
    if set(look.treated) - {0, 1}:
        raise LookInputError("treated: every value must be 0 or 1")
    lane_of: dict[str, str] = {}
    for stratum, lane in zip(look.strata, look.lanes, strict=True):
        if lane_of.setdefault(stratum, lane) != lane:
            raise LookInputError(f"strata: {stratum!r} lies in two lanes, {lane_of[stratum]!r} and {lane!r}")
    if "*" in lane_of.values() or "all" in lane_of.values():
        raise LookInputError('lanes: "*" and "all" are reserved names')
    if look.look < 1 or look.planned_looks < 1:
        raise LookInputError("look, planned_looks: both count from 1")
    if not 0.0 < look.alpha < 1.0:
        raise LookInputError(f"alpha: must lie strictly between 0 and 1, got {look.alpha}")
    if look.stages < 1:
        raise LookInputError(f"stages: must be at least 1, got {look.stages}")
    if look.permutations < 100:
        raise LookInputError(f"permutations: at least 100 are needed, got {look.permutations}")
    if not (math.isfinite(look.hours) and look.hours >= 0.0):
        raise LookInputError(f"hours: must be finite and not negative, got {look.hours}")
    if look.reporting is not None:
        _aligned("reporting", look.reporting, count)
    if look.inferences is not None:
        _aligned("inferences", look.inferences, count)
    _validate_rows(look, count)


def _validate_rows(look: LookInput, count: int) -> None:
    for kind, rows in (("metrics", look.metrics), ("shapes", look.shapes), ("described", look.described)):
        names = [row.name for row in rows]
        if len(set(names)) != len(names):
            raise LookInputError(f"{kind}: a name occurs twice")
        known = registry.SHAPES if kind == "shapes" else registry.METRICS
        for row in rows:
            if row.name not in known:
                raise LookInputError(f"{kind}: unknown name {row.name!r}")
            for part in ("pre", "post", "recent"):
                values = getattr(row, part, None)
                if values is not None:
                    _aligned(f"{row.name}.{part}", values, count)
    if twice := {row.name for row in look.metrics} & {row.name for row in look.described}:
        raise LookInputError(f"described: {min(twice)!r} is judged already")
    for row in look.metrics:
        for lane, margin in row.margins.items():
            if not (math.isfinite(margin) and margin >= 0.0):
                raise LookInputError(f"{row.name}.margins[{lane}]: must be finite and not negative, got {margin}")
    for row in look.hard_limits:
        _aligned(f"hard_limits[{row.name}].values", row.values, count)
        if row.harm not in (1, -1):
            raise LookInputError(f"hard_limits[{row.name}].harm: must be 1 or -1, got {row.harm}")


def _aligned(name: str, values: Sequence[Any], count: int) -> None:
    if len(values) != count:
        raise LookInputError(f"{name}: {len(values)} values for {count} devices")
