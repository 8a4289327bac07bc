"""The detail of an event in words, whatever a device put into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from telemetry.services.events import BOM_MISMATCH, UNREGISTERED_RELEASE

LONGEST = 240


def detail_words(kind: str, detail: Mapping[str, Any]) -> str:
    """What an event of this type says beyond its name, in one line; what is too long ends in an ellipsis."""
    words = _of_the_server(kind, detail) or _pairs(detail)
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


def _of_the_server(kind: str, detail: Mapping[str, Any]) -> str:
    """The words for events that the server raises; empty for all others, and for a device that takes their names."""
    if (
        kind == BOM_MISMATCH
        and isinstance(parts := detail.get("parts"), dict)
        and all(map(_is_mismatch, parts.values()))
    ):
        return "; ".join(
            f"{_name(part).removesuffix(' version')} {found['device']} runs, the release declares {found['release']}"
            for part, found in parts.items()
        )
    if kind == UNREGISTERED_RELEASE and {"workload", "release"} <= detail.keys():
        return f"nobody registered {detail['workload']} {detail['release']}"
    return ""


def _is_mismatch(found: Any) -> bool:
    return isinstance(found, dict) and {"device", "release"} <= found.keys()


def _pairs(detail: Mapping[str, Any]) -> str:
    return ", ".join(f"{_name(name)}: {_value(value)}" for name, value in detail.items())


def _name(name: str) -> str:
    return name.replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"({_pairs(value)})"
    if isinstance(value, list):
        return " ".join(map(_value, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}"
    return "none" if value is None else str(value)
