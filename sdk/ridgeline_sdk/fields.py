"""The fields of inferences and states and the values they may hold, checked before a bad one can spoil a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

FALLBACKS = ("none", "cpu", "smaller_model", "cloud", "reject")
OUTCOMES = ("ok", "error", "timeout", "out_of_memory")
SEVERITIES = ("debug", "info", "warning", "error", "critical")


def _number(value: Any) -> float | int:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    if isinstance(value, int):
        return value
    try:
        # numpy scalars and other things with __float__ become plain numbers here.
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("must be a number") from None
    if not math.isfinite(number):
        raise ValueError("must be finite")
    return number


def _not_negative(value: Any) -> float | int:
    number = _number(value)
    if number < 0:
        raise ValueError("must not be negative")
    return number


def _share(value: Any) -> float | int:
    number = _number(value)
    if not 0 <= number <= 1:
        raise ValueError("must lie between 0 and 1")
    return number


def _percent(value: Any) -> float | int:
    number = _number(value)
    if not 0 <= number <= 100:
        raise ValueError("must lie between 0 and 100")
    return number


def _whole(value: Any) -> int:
    number = _not_negative(value)
    if number != int(number):
        raise ValueError("must be a whole number")
    return int(number)


def _one_of(allowed: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return value

    return check


INFERENCE_FIELDS: dict[str, Callable[[Any], Any]] = {
    "latency_ms": _not_negative,
    "preprocess_ms": _not_negative,
    "inference_ms": _not_negative,
    "postprocess_ms": _not_negative,
    "queue_ms": _not_negative,
    "energy_mj": _not_negative,
    "power_w": _not_negative,
    "temperature_c": _number,
    "memory_mb": _not_negative,
    "accelerator_utilization": _share,
    "queue_depth": _whole,
    "input_quality": _share,
    "confidence": _share,
    "predicted_class": str,
    "fallback": _one_of(FALLBACKS),
    "retries": _whole,
    "throttled": bool,
    "outcome": _one_of(OUTCOMES),
    "sample_ref": str,
}

STATE_FIELDS: dict[str, Callable[[Any], Any]] = {
    "temperature_c": _number,
    "power_w": _not_negative,
    "memory_mb": _not_negative,
    "battery_pct": _percent,
}

severity = _one_of(SEVERITIES)


def checked(values: dict[str, Any], fields: dict[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """`values` without the Nones, as plain JSON values; ValueError that names the field."""
    plain = {}
    for name, value in values.items():
        if value is None:
            continue
        if name not in fields:
            raise ValueError(f"{name}: no such field; known are {', '.join(fields)}")
        try:
            plain[name] = fields[name](value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}, got {value!r}") from None
    return plain
