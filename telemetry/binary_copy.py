"""The stream of COPY … (FORMAT BINARY), assembled from numpy columns without touching a row in Python.

A row is a field count and, for each field, its length and its bytes, all big-endian; a null has length -1 and no bytes
(PostgreSQL documentation, COPY, "Binary Format"). Rows are laid out at their greatest length as one structured array
with constant field lengths; where a field is null or shorter than the longest, the surplus bytes are cut out by a mask.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL's timestamps begin.
POSTGRES_EPOCH_US = 946_684_800_000_000

# Up to so many rows, packing them one by one is faster than setting up arrays.
_FEW = 4

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_NULL = -1
_NULL_FIELD = b"\xff\xff\xff\xff"

# PostgreSQL type -> big-endian dtype of its binary form
_DTYPE = {
    "int2": ">i2",
    "int4": ">i4",
    "int8": ">i8",
    "float4": ">f4",
    "float8": ">f8",
    "bool": "u1",
    "timestamptz": ">i8",
}
_WIDTH = {name: np.dtype(dtype).itemsize for name, dtype in _DTYPE.items()}
# the same, with the length before it, for one value at a time
_PACK = {
    "int2": struct.Struct(">ih").pack,
    "int4": struct.Struct(">ii").pack,
    "int8": struct.Struct(">iq").pack,
    "float4": struct.Struct(">if").pack,
    "float8": struct.Struct(">id").pack,
    "bool": struct.Struct(">i?").pack,
    "timestamptz": struct.Struct(">iq").pack,
}
_JSONB_VERSION = b"\x01"


@dataclass(frozen=True, slots=True)
class Field:
    """One column of the rows to copy.

    Attributes:
        name: of the table's column.
        type: its PostgreSQL type.
        values: one value for all rows; an (n,) array, times in microseconds since 1970; or, for bytea, text (UTF-8),
            jsonb (JSON text) and uuid, n bytes objects with None for null.
        null: (n,) mask of the nulls in an array; None where there are none.
    """

    name: str
    type: str
    values: Any
    null: NDArray[np.bool_] | None = None


def copy_stream(fields: Sequence[Field], n: int) -> tuple[list[str], bytes]:
    """The names of the columns to copy, and the stream of n > 0 rows.

    Columns that are null in every row are left out: COPY fills them with their default, which is null.
    """
    if n <= _FEW:
        return [field.name for field in fields], _few_rows(fields, n)
    parts = [part for part in (_part(field, n) for field in fields) if part is not None]
    layout, template = _layout(tuple((part.dtype, part.width) for part in parts))
    rows = np.frombuffer(bytearray(template * n), dtype=layout)
    cut: list[tuple[str, NDArray | int]] = []
    for place, part in enumerate(parts):
        rows[f"v{place}"] = part.values
        if part.lengths is not None:
            rows[f"l{place}"] = part.lengths
            cut.append((f"v{place}", part.lengths))
    body = rows.tobytes() if not cut else _cut(rows, cut)
    return [part.name for part in parts], b"".join((_SIGNATURE, body, _TRAILER))


def _few_rows(fields: Sequence[Field], n: int) -> bytes:
    """The stream of a few rows, value by value."""
    head = len(fields).to_bytes(2, "big")
    packed = [_packed_values(field, n) for field in fields]
    return b"".join((_SIGNATURE, *(head + b"".join(row) for row in zip(*packed, strict=True)), _TRAILER))


def _packed_values(field: Field, n: int) -> list[bytes]:
    """Length and bytes of each value of a field."""
    pack = _PACK.get(field.type)
    if pack is None:
        version = _JSONB_VERSION if field.type == "jsonb" else b""
        return [
            _NULL_FIELD if value is None else (len(version) + len(value)).to_bytes(4, "big") + version + value
            for value in field.values
        ]
    values = field.values
    listed = values.tolist() if isinstance(values, np.ndarray) else [values] * n
    width = _WIDTH[field.type]
    if field.type == "timestamptz":
        listed = [value - POSTGRES_EPOCH_US for value in listed]
    elif not field.type.startswith("float"):
        # sums of counts may come as floats
        listed = [int(value) if value == value else 0 for value in listed]
    if field.null is None:
        return [pack(width, value) for value in listed]
    return [
        _NULL_FIELD if null else pack(width, value) for null, value in zip(field.null.tolist(), listed, strict=True)
    ]


@dataclass(slots=True)
class _Part:
    """A field ready to be laid out: `lengths` is None where every row has the full width."""

    name: str
    dtype: str
    width: int
    values: Any
    lengths: NDArray | None = None


def _part(field: Field, n: int) -> _Part | None:
    """The field as laid out, or None if it is null throughout."""
    dtype = _DTYPE.get(field.type)
    if dtype is None:
        return _bytes_part(field, n)
    values = field.values
    if field.type == "timestamptz":
        values = values - POSTGRES_EPOCH_US
    width = np.dtype(dtype).itemsize
    if field.null is not None:
        nulls = np.count_nonzero(field.null)
        if nulls == n:
            return None
        if nulls:
            return _Part(field.name, dtype, width, np.where(field.null, 0, values), np.where(field.null, _NULL, width))
    return _Part(field.name, dtype, width, values)


def _bytes_part(field: Field, n: int) -> _Part | None:
    """A field of variable length, padded to its longest value."""
    values = field.values
    if field.type == "jsonb":
        values = [None if value is None else _JSONB_VERSION + value for value in values]
    lengths = np.fromiter((_NULL if value is None else len(value) for value in values), np.int64, n)
    longest = int(lengths.max())
    if longest == _NULL:
        return None
    width = max(longest, 1)
    padded = np.array([value or b"" for value in values], dtype=f"S{width}")
    return _Part(field.name, f"S{width}", width, padded, None if (lengths == width).all() else lengths)


@lru_cache(maxsize=256)
def _layout(parts: tuple[tuple[str, int], ...]) -> tuple[np.dtype, bytes]:
    """The dtype of a row at its greatest length, and the bytes of a row with all constants filled in."""
    members: list[tuple[str, str]] = [("fields", ">i2")]
    for place, (dtype, _) in enumerate(parts):
        members += [(f"l{place}", ">i4"), (f"v{place}", dtype)]
    layout = np.dtype(members)
    row = np.zeros(1, dtype=layout)
    row["fields"] = len(parts)
    for place, (_, width) in enumerate(parts):
        row[f"l{place}"] = width
    return layout, row.tobytes()


def _cut(rows: NDArray, fields: list[tuple[str, NDArray]]) -> bytes:
    """The rows' bytes without those that lie beyond a field's length."""
    keep = np.ones((rows.size, rows.dtype.itemsize), dtype=bool)
    for name, lengths in fields:
        dtype, offset = rows.dtype.fields[name][:2]
        keep[:, offset : offset + dtype.itemsize] = np.arange(dtype.itemsize) < lengths[:, None]
    return rows.view(np.uint8).reshape(keep.shape)[keep].tobytes()
