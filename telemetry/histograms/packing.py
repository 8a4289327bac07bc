"""A histogram as the bytes that a row stores."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

WIDE = 1 << 30
_HEADER = 8
MAX_NARROW = np.iinfo(np.uint32).max


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


def packed_bytes(offset: int, counts: NDArray[np.int64], zero: int) -> bytes:
    """Bytes of counts that are trimmed already."""
    if zero > MAX_NARROW or (counts.size and int(counts.max()) > MAX_NARROW):
        head = np.array([offset + WIDE, 0], dtype="<i4").tobytes()
        return head + np.concatenate(([zero], counts)).astype("<u8").tobytes()
    return offset.to_bytes(4, "little", signed=True) + zero.to_bytes(4, "little") + counts.astype("<u4").tobytes()
