"""The telemetry envelope: from spooled records to the bytes that travel, and from one set of bytes to two halves."""

from __future__ import annotations

import gzip
import json
from typing import Any

SCHEMA = "ridgeline.telemetry/1"
CONTENT_TYPE = "application/json"
GZIP = "gzip"
IDENTITY = "identity"

# Sections that hold lists of records; `inferences` may also be an object of columns.
LIST_SECTIONS = ("inferences", "windows", "events", "states")


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def dumps(value: Any) -> str:
    """Compact JSON; ValueError on NaN and infinities, which would spoil the whole body."""
    return _ENCODER.encode(value)


def as_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns of equal length, null where a row lacks the field."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    return {name: [row.get(name) for row in rows] for name in names}


def as_rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Columns as rows, nulls left out; ValueError when lengths differ."""
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("the columns of `inferences` have unequal lengths")
    names = list(columns)
    return [
        {name: value for name, value in zip(names, values) if value is not None} for values in zip(*columns.values())
    ]


def inferences_json(bodies: list[str]) -> str:
    """JSON text of spooled inferences, as rows or as columns, whichever is shorter."""
    rows = "[" + ",".join(bodies) + "]"
    columns = dumps(as_columns(json.loads(rows)))
    return columns if len(columns) < len(rows) else rows


def encode(header: dict[str, Any], sections: dict[str, list[str]]) -> bytes:
    """Bytes of an envelope from its header and its records' JSON texts by section; `counters` holds at most one."""
    parts = [dumps(header)[1:-1]]
    for section, bodies in sections.items():
        if not bodies:
            continue
        if section == "inferences":
            text = inferences_json(bodies)
        elif section == "counters":
            text = bodies[-1]
        else:
            text = "[" + ",".join(bodies) + "]"
        parts.append(f'"{section}":{text}')
    return ("{" + ",".join(parts) + "}").encode()


def compress(raw: bytes, encoding: str) -> bytes:
    """Body in a content encoding. No time stamp goes into the gzip header, so equal content gives equal bytes."""
    return gzip.compress(raw, compresslevel=6, mtime=0) if encoding == GZIP else raw


def decompress(body: bytes, encoding: str) -> bytes:
    """Inverse of `compress`."""
    return gzip.decompress(body) if encoding == GZIP else body


def counts_of(envelope: dict[str, Any]) -> dict[str, int]:
    """Records per section."""
    counts = {}
    for section in LIST_SECTIONS:
        records = envelope.get(section, [])
        counts[section] = len(next(iter(records.values()), [])) if isinstance(records, dict) else len(records)
    counts["counters"] = 1 if envelope.get("counters") else 0
    return counts


def halves(raw: bytes) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Two envelopes with the records of one, or None when a single record is left.

    Admitted drops and counters stay with the first half, so that nothing is told twice.
    """
    envelope = json.loads(raw)
    if isinstance(envelope.get("inferences"), dict):
        envelope["inferences"] = as_rows(envelope["inferences"])
    sections = {section: envelope.pop(section) for section in LIST_SECTIONS if envelope.get(section)}
    total = sum(len(records) for records in sections.values())
    if total < 2:
        return None
    counters = envelope.pop("counters", None)
    first, second = dict(envelope), dict(envelope)
    second["dropped"] = dict.fromkeys(envelope.get("dropped", {}), 0)
    room = total - total // 2
    for section, records in sections.items():
        kept, moved = records[:room], records[room:]
        room -= len(kept)
        for half, part in ((first, kept), (second, moved)):
            if part:
                half[section] = part
    if counters:
        first["counters"] = counters
    return first, second


def by_urgency(raw: bytes) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The envelope's events and windows apart from its bulk, or None when it holds only one of the two."""
    envelope = json.loads(raw)
    if not envelope.get("inferences") or not (envelope.get("events") or envelope.get("windows")):
        return None
    urgent = {key: value for key, value in envelope.items() if key not in ("inferences", "states", "counters")}
    bulk = {key: value for key, value in envelope.items() if key not in ("events", "windows")}
    bulk["dropped"] = dict.fromkeys(envelope.get("dropped", {}), 0)
    return urgent, bulk


def reencode(envelope: dict[str, Any]) -> bytes:
    """Bytes of an envelope held as an object, with inferences as columns where that is shorter."""
    sections = {}
    inferences = envelope.get("inferences")
    if isinstance(inferences, list):
        sections["inferences"] = [dumps(row) for row in inferences]
        envelope = {key: value for key, value in envelope.items() if key != "inferences"}
    return encode(envelope, sections)
