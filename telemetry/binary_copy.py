"""The stream of COPY … (FORMAT BINARY), assembled from numpy columns without touching a row in Python.

A row is a field count and, for each field, its length and its bytes, all big-endian; a null has length -1 and no bytes
(PostgreSQL documentation, COPY, "Binary Format"). Rows are laid out at their greatest length as one structured array
with constant field lengths; where a field is null or shorter than the longest, the surplus bytes are cut out by a mask.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
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
# the same as the struct module says it
_CODE = {"int2": "h", "int4": "i", "int8": "q", "float4": "f", "float8": "d", "bool": "?", "timestamptz": "q"}
_JSONB_VERSION = b"\x01"


@dataclass(slots=True)
class Field:
    """One column of the rows to copy. Not frozen, for a batch makes a hundred of them and that takes half the time.

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
    """The stream of a few rows, row by row."""
    types = tuple(field.type for field in fields)
    fixed = next((place for place, kind in enumerate(types) if kind not in _CODE), len(types))
    pieces = [_SIGNATURE]
    for row in zip(*(_listed(field, n) for field in fields), strict=True):
        pieces.append(_fixed_values(types[:fixed], row[:fixed], len(fields)))
        pieces += map(_single_value, types[fixed:], row[fixed:])
    return b"".join((*pieces, _TRAILER))


def _listed(field: Field, n: int) -> list:
    """The values of a field as Python has them, None for null."""
    values = field.values
    if field.type not in _CODE:
        return values
    if not isinstance(values, np.ndarray):
        return [values - POSTGRES_EPOCH_US if field.type == "timestamptz" else values] * n
    if field.type == "timestamptz":
        values = values - POSTGRES_EPOCH_US
    elif values.dtype.kind == "f" and not field.type.startswith("float"):
        # sums of counts may come as floats
        values = np.nan_to_num(values).astype(np.int64)
    listed = values.tolist()
    if field.null is None:
        return listed
    return [None if null else value for null, value in zip(field.null.tolist(), listed, strict=True)]


def _fixed_values(types: tuple[str, ...], values: Sequence, n_fields: int) -> bytes:
    """The beginning of a row: its field count, and the length and the bytes of its fields of fixed width."""
    nulls = tuple([value is None for value in values]) if None in values else None
    pack, arguments, slots = _row_format(types, nulls, n_fields)
    arguments = arguments.copy()
    if slots is None:
        arguments[2::2] = values
    else:
        for slot, value in zip(slots, values, strict=True):
            if slot:
                arguments[slot] = value
    return pack(*arguments)


@lru_cache(maxsize=256)
def _row_format(
    types: tuple[str, ...], nulls: tuple[bool, ...] | None, n_fields: int
) -> tuple[Callable[..., bytes], list, list[int] | None]:
    """How to pack fields of fixed width: the function, its arguments with all lengths, where each value goes."""
    code, arguments, slots = [">h"], [n_fields], []
    for place, kind in enumerate(types):
        if nulls is not None and nulls[place]:
            code.append("i")
            arguments.append(_NULL)
            slots.append(0)
        else:
            code.append(f"i{_CODE[kind]}")
            slots.append(len(arguments) + 1)
            arguments += [_WIDTH[kind], 0]
    return struct.Struct("".join(code)).pack, arguments, None if nulls is None else slots


def _single_value(kind: str, value: Any) -> bytes:
    """Length and bytes of one value."""
    if value is None:
        return _NULL_FIELD
    if kind in _CODE:
        return struct.pack(f">i{_CODE[kind]}", _WIDTH[kind], value)
    version = _JSONB_VERSION if kind == "jsonb" else b""
    return (len(version) + len(value)).to_bytes(4, "big") + version + value


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
