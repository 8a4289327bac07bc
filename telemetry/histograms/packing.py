"""A histogram as the bytes that a row stores."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

WIDE = 1 << 30
_HEADER = 8
MAX_NARROW = np.iinfo(np.uint32).max
_NO_COUNTS = np.zeros(0, dtype=np.int64)
_FIRST = np.zeros(1, dtype=np.int64)


def pack(offset: int, counts: ArrayLike, zero: int = 0) -> bytes:
    """Bytes of a histogram whose first count is that of bin `offset`; zeros at either end are not stored."""
    dense = np.asarray(counts, dtype=np.int64)
    if zero < 0 or (dense < 0).any():
        raise ValueError("counts must not be negative")
    filled = np.flatnonzero(dense)
    if filled.size:
        offset += int(filled[0])
        dense = dense[filled[0] : filled[-1] + 1]
    else:
        offset, dense = 0, dense[:0]
    return packed_bytes(offset, dense, zero)


def unpack(packed: bytes) -> tuple[int, NDArray[np.int64], int]:
    """Offset, counts and zero count of a packed histogram.

    Raises:
        ValueError: the bytes are no packed histogram.
    """
    if len(packed) < _HEADER:
        raise ValueError("a packed histogram has at least 8 bytes")
    head = int.from_bytes(packed[:4], "little", signed=True)
    if head >= WIDE // 2:
        body = np.frombuffer(packed, dtype="<u8", offset=_HEADER).astype(np.int64)
        return head - WIDE, body[1:], int(body[0])
    zero = int.from_bytes(packed[4:8], "little")
    return head, np.frombuffer(packed, dtype="<u4", offset=_HEADER).astype(np.int64), zero


def pack_runs(index: NDArray[np.integer], row: NDArray[np.int64], zero: NDArray[np.int64]) -> list[bytes | None]:
    """Packed histograms of values, one for each row; None for a row without any.

    Args:
        index: (n,) bin of each value.
        row: (n,) the row it belongs to, in ascending order.
        zero: (rows,) values that are zero.
    """
    packed: list[bytes | None] = [None if not zeros else packed_bytes(0, _NO_COUNTS, zeros) for zeros in zero.tolist()]
    if not index.size:
        return packed
    filled, start, size = _runs(row)
    low, high = np.minimum.reduceat(index, start), np.maximum.reduceat(index, start)
    width = (high - low + 1).astype(np.int64)
    end = np.cumsum(width)
    counts = np.bincount(index + np.repeat(end - width - low, size), minlength=int(end[-1]))
    heads = np.empty((filled.size, 2), dtype="<i4")
    # fewer values than fit four bytes, so the zeros read the same as unsigned
    heads[:, 0], heads[:, 1] = low, zero[filled]
    head, body = heads.tobytes(), counts.astype("<u4").tobytes()
    first = 0
    for place, (at, last) in enumerate(zip(filled.tolist(), (4 * end).tolist(), strict=True)):
        packed[at] = head[_HEADER * place : _HEADER * (place + 1)] + body[first:last]
        first = last
    return packed


def _runs(row: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The distinct values of an ascending array, where each begins, and how often it comes."""
    start = np.concatenate((_FIRST, (row[1:] != row[:-1]).nonzero()[0] + 1))
    return row[start], start, np.diff(start, append=row.size)


def packed_bytes(offset: int, counts: NDArray[np.int64], zero: int) -> bytes:
    """Bytes of counts that are trimmed already."""
    if zero > MAX_NARROW or (counts.size and int(counts.max()) > MAX_NARROW):
        head = np.array([offset + WIDE, 0], dtype="<i4").tobytes()
        return head + np.concatenate(([zero], counts)).astype("<u8").tobytes()
    return offset.to_bytes(4, "little", signed=True) + zero.to_bytes(4, "little") + counts.astype("<u4").tobytes()
