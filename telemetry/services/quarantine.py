"""What was refused, kept so that its sender can be told why: bad records of batches, and requests refused whole.

Both are bounded, so that nobody fills the disk with rubbish. Of a device at most 20 MB of bad records are kept per
hour; beyond that their reasons are, at most 20,000 an hour, and beyond that the ledger's count. Of whole requests at
most 30 per minute and device are kept, 600 in all from senders that are no known device. Retention deletes both after
30 days.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import datetime

import msgspec
import numpy as np
import zstandard

from telemetry import allowances
from telemetry.binary_copy import Field
from telemetry.models import RequestReject
from telemetry.protocol import Rejection
from telemetry.protocol.careful import holds_nul

MAX_RECORD_BYTES = 4_096
SAMPLE_BYTES = 512
_BYTES_PER_HOUR = 20 << 20
_REASONS_PER_HOUR = 20_000
_REFUSALS_PER_MINUTE = 30
_STRANGERS_PER_MINUTE = 600
_MAX_MESSAGE = 500


def quarantine_fields(
    rejections: Sequence[Rejection], records: Sequence[object], *, device_id: int, batch_id: int, received_us: int
) -> tuple[list[Field], int]:
    """Columns of `telemetry_quarantinedrecord` for the bad records of a batch, and how many rows are within bounds."""
    texts = [_record_text(record) for record in records]
    size = sum(len(text) for text in texts if text)
    if allowances.take(f"quarantine-bytes:{device_id}", rate=_BYTES_PER_HOUR / 3600, size=_BYTES_PER_HOUR, amount=size):
        texts = [None] * len(texts)
    n = len(rejections)
    if allowances.take(f"quarantine-rows:{device_id}", rate=_REASONS_PER_HOUR / 3600, size=_REASONS_PER_HOUR, amount=n):
        return [], 0
    fields = [
        Field("device_id", "int8", device_id),
        Field("batch_id", "int8", batch_id),
        Field("received_at", "timestamptz", received_us),
        Field("section", "text", [r.section.encode() for r in rejections]),
        # parts of the envelope itself have no index
        Field(
            "index",
            "int4",
            np.array([r.index or 0 for r in rejections]),
            null=np.array([r.index is None for r in rejections]),
        ),
        Field("field", "text", [_text(r.field, 64) for r in rejections]),
        Field("code", "text", [r.code.encode() for r in rejections]),
        Field("message", "text", [_text(r.message, _MAX_MESSAGE) for r in rejections]),
        Field("record", "jsonb", texts),
    ]
    return fields, n


def note_refusal(
    *, device_id: int | None, status: int, code: str, message: str, body: bytes, size: int, now: datetime
) -> None:
    """Keep a request that was refused whole, unless its sender has been refused too often lately.

    Args:
        device_id: the device that the token belongs to; None where it is not known.
        body: as received, or its beginning; what is kept of it is in clear where it is compressed and sound.
        size: bytes of the whole body as far as known.
    """
    bucket, limit = (
        ("refusals:strangers", _STRANGERS_PER_MINUTE)
        if device_id is None
        else (f"refusals:{device_id}", _REFUSALS_PER_MINUTE)
    )
    if allowances.take(bucket, rate=limit / 60, size=limit):
        return
    RequestReject.objects.create(
        device_id=device_id,
        at=now,
        status=status,
        code=code,
        message=message[:_MAX_MESSAGE],
        body_sample=_beginning(bytes(body)) or None,
        bytes=size,
    )


def _beginning(body: bytes) -> bytes:
    """The first bytes of a body, of a compressed one those of what it holds, if that can be told."""
    try:
        if body[:2] == b"\x1f\x8b":
            return zlib.decompressobj(wbits=31).decompress(body, SAMPLE_BYTES) or body[:SAMPLE_BYTES]
        if body[:4] == zstandard.FRAME_HEADER:
            reader = zstandard.ZstdDecompressor(max_window_size=8 << 20).stream_reader(body)
            return reader.read(SAMPLE_BYTES) or body[:SAMPLE_BYTES]
    except (zlib.error, zstandard.ZstdError):
        pass
    return body[:SAMPLE_BYTES]


def _record_text(record: object) -> bytes | None:
    """A record as JSON text that jsonb accepts, cut when it is long."""
    if record is None:
        return None
    text = msgspec.json.encode(record)
    if len(text) > MAX_RECORD_BYTES:
        text = msgspec.json.encode({"cut": text[:MAX_RECORD_BYTES].decode(errors="ignore")})
    # jsonb cannot hold U+0000; behind an escaped backslash the replacement changes text and breaks nothing
    return text.replace(b"\\u0000", b"\\ufffd") if holds_nul(text) else text


def _text(value: str, length: int) -> bytes:
    return value[:length].replace("\0", "\ufffd").encode(errors="replace")
