"""Events, states and counters: checked where types are not enough."""

from __future__ import annotations

import msgspec

from telemetry.protocol import wire
from telemetry.protocol.decoded import Section
from telemetry.protocol.errors import Rejection

MAX_DETAIL_BYTES = 16_384


def check_events(section: Section) -> tuple[Section, list[Rejection]]:
    """Events whose detail is not too long for a row."""
    rejections = []
    kept = Section(index=[])
    for place, event in enumerate(section.records):
        index = place if section.index is None else section.index[place]
        if event.detail and len(msgspec.json.encode(event.detail)) > MAX_DETAIL_BYTES:
            message = f"`detail` must not exceed {MAX_DETAIL_BYTES} bytes."
            rejections.append(Rejection("events", index, "detail", "length", message))
            continue
        kept.records.append(event)
        kept.index.append(index)
    return kept, rejections


def check_states(section: Section) -> tuple[Section, list[Rejection]]:
    """States that say anything at all."""
    rejections = []
    kept = Section(index=[])
    readings = [name for name in wire.State.__struct_fields__ if name not in ("time", "uptime_ms")]
    for place, state in enumerate(section.records):
        index = place if section.index is None else section.index[place]
        if all(getattr(state, name) is None for name in readings):
            rejections.append(Rejection("states", index, "", "missing", f"A state needs one of {', '.join(readings)}."))
            continue
        kept.records.append(state)
        kept.index.append(index)
    return kept, rejections
