"""Inferences as numpy columns, checked for all records at once, and the ones that are out of range set apart."""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields

import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from telemetry.columns import FALLBACKS, MEASURES, OUTCOMES, RAW_COLUMN
from telemetry.protocol.decoded import Section
from telemetry.protocol.errors import Rejection
from telemetry.protocol.wire import Inference, InferenceColumns, microseconds

# The wire's names of the measures, in the order of telemetry.columns.MEASURES.
_MEASURE_FIELDS = tuple(RAW_COLUMN[measure] for measure in MEASURES)

_LARGEST = float(np.finfo(np.float32).max)
_SHARES = ("accelerator_utilization", "input_quality", "confidence")
_LOW = np.array([-273.15 if m == "temperature" else 0.0 for m in MEASURES])
_HIGH = np.array([1.0 if m in _SHARES else _LARGEST for m in MEASURES])

_FALLBACK_CODE = {None: 0} | {name: code for code, name in enumerate(FALLBACKS)}
_OUTCOME_CODE = {None: 0} | {name: code for code, name in enumerate(OUTCOMES)}


@dataclass(frozen=True, slots=True)
class Inferences:
    """n checked inferences.

    Attributes:
        index: (n,) position of each record in its section as sent.
        time_us: (n,) device time in microseconds since the epoch.
        uptime_ms: (n,) monotonic device clock at the event, nan where not sent; None where no record has it.
        measures: (len(MEASURES), n) float32, nan where a record lacks the measure. In single precision already, so that
            whatever is computed from them can be computed again from the stored rows.
        class_names: the distinct predicted classes.
        class_code: (n,) position in `class_names`, -1 for none.
        fallback, outcome: (n,) codes of telemetry.columns.
        retries: (n,); throttled: (n,) bool.
        sample_refs: (n,) objects, None where not sent; None where no record has one.
    """

    index: NDArray[np.int64]
    time_us: NDArray[np.int64]
    uptime_ms: NDArray[np.float64] | None
    measures: NDArray[np.float32]
    class_names: tuple[str, ...]
    class_code: NDArray[np.int32]
    fallback: NDArray[np.int16]
    outcome: NDArray[np.int16]
    retries: NDArray[np.int16]
    throttled: NDArray[np.bool_]
    sample_refs: NDArray[np.object_] | None

    def __len__(self) -> int:
        return self.time_us.size

    def select(self, keep: NDArray[np.bool_]) -> Inferences:
        """The records where `keep` is true."""
        if keep.all():
            return self
        return Inferences(
            **{
                f.name: value[..., keep] if isinstance(value := getattr(self, f.name), np.ndarray) else value
                for f in fields(self)
            }
        )


def check_inferences(source: Section | InferenceColumns) -> tuple[Inferences, list[Rejection]]:
    """Turn decoded inferences into arrays and check ranges.

    Positive quantities are finite and not negative, shares lie in [0, 1], temperatures above absolute zero.
    """
    if isinstance(source, InferenceColumns):
        columns, index = source, None
    else:
        columns, index = _columns_of(source.records), source.index
    n = len(columns.time)
    position = np.arange(n) if index is None else np.array(index, dtype=np.int64)
    measures = np.empty((len(MEASURES), n))
    for row, name in enumerate(_MEASURE_FIELDS):
        measures[row] = _numbers(getattr(columns, name))
    names, codes = _classes(columns.predicted_class, n)
    rejections, keep = _out_of_range(measures, position)
    if keep is not None:
        # a value that single precision cannot hold would warn; its record is left out below
        measures[:, ~keep] = 0
    checked = Inferences(
        index=position,
        time_us=_times(columns.time),
        uptime_ms=None if _absent(columns.uptime_ms) else np.array(columns.uptime_ms, dtype=np.float64),
        measures=measures.astype(np.float32),
        class_names=names,
        class_code=codes,
        fallback=_codes(columns.fallback, _FALLBACK_CODE, "none", n),
        outcome=_codes(columns.outcome, _OUTCOME_CODE, "ok", n),
        retries=_codes(columns.retries, None, 0, n),
        throttled=_codes(columns.throttled, None, False, n).astype(bool),
        sample_refs=None if _absent(columns.sample_ref) else np.array(columns.sample_ref, dtype=object),
    )
    return (checked if keep is None else checked.select(keep)), rejections


def _columns_of(rows: list[Inference]) -> InferenceColumns:
    """Rows as columns; both have the same fields in the same order."""
    if not rows:
        return InferenceColumns(time=[], latency_ms=[])
    return InferenceColumns(*zip(*map(astuple, rows), strict=True))


def _absent(values: list | None) -> bool:
    """Whether no record has the field; the first one is looked at first because that settles it nearly always."""
    return not values or (values[0] is None and values.count(None) == len(values))


def _numbers(values: list[float | None] | None) -> NDArray[np.float64] | float:
    """Values as doubles, nan for null; a single nan where the whole column is absent."""
    if _absent(values):
        return np.nan
    try:
        # three times as fast as numpy's own conversion
        return np.frombuffer(struct.pack(f"{len(values)}d", *values))
    except struct.error:
        # numpy reads None as nan
        return np.array(values, dtype=np.float64)


def _times(values: list) -> NDArray[np.int64]:
    try:
        return np.frombuffer(struct.pack(f"{len(values)}q", *values), dtype=np.int64)
    except struct.error:
        return np.fromiter(map(microseconds, values), np.int64, len(values))


def _codes(values: list | None, code: dict | None, usual: object, n: int) -> NDArray[np.int16]:
    """Small integers: looked up in `code`, or as they are with 0 for null. `usual` is the value whose code is 0."""
    if _absent(values) or values.count(usual) == n:
        return np.zeros(n, dtype=np.int16)
    found = (value or 0 for value in values) if code is None else map(code.__getitem__, values)
    return np.fromiter(found, np.int16, n)


def _classes(values: list[str | None] | None, n: int) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    if _absent(values):
        return (), np.full(n, -1, dtype=np.int32)
    names = tuple(name for name in dict.fromkeys(values) if name is not None)
    code = {name: position for position, name in enumerate(names)}
    code[None] = -1
    return names, np.fromiter(map(code.__getitem__, values), np.int32, n)


def _out_of_range(
    measures: NDArray[np.float64], position: NDArray[np.int64]
) -> tuple[list[Rejection], NDArray[np.bool_] | None]:
    """Rejections of records with a measure out of range (the first such), and the mask of the others; None for all."""
    # nan compares false with everything, so an absent measure is in range
    low, high = measures < _LOW[:, None], measures > _HIGH[:, None]
    bad = low | high
    if not bad.any():
        return [], None
    spoilt = bad.any(axis=0)
    rejections = []
    for record in np.flatnonzero(spoilt):
        row = int(np.argmax(bad[:, record]))
        name, value = _MEASURE_FIELDS[row], float(measures[row, record])
        limit = f"not be below {_LOW[row]:g}" if low[row, record] else f"not exceed {_HIGH[row]:g}"
        rejections.append(
            Rejection("inferences", int(position[record]), name, "range", f"`{name}` must {limit}, got {value:g}.")
        )
    return rejections, ~spoilt
