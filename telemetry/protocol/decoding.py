"""From the bytes of a body to an envelope of well-typed records: strict and fast first, then part by part.

A sound body is decoded in one go. Only when that fails is the body read again (see `careful`), to find out whether it
is spoilt as a whole (`BadBody`) or only holds bad records (`Rejection`) or unknown fields (counted).
"""

from __future__ import annotations

import msgspec

from telemetry.protocol import careful, wire
from telemetry.protocol.decoded import Decoded, Section
from telemetry.protocol.errors import BadBody

_ENVELOPE = msgspec.json.Decoder(wire.Envelope)


def decode(body: bytes) -> Decoded:
    """Read a (decompressed) body.

    Raises:
        BadBody: the body is spoilt as a whole.
    """
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise BadBody("syntax", f"The body is not UTF-8: {error.reason} at byte {error.start}.") from None
    if careful.holds_nul(body):
        return careful.decode_by_parts(body)
    try:
        envelope = _ENVELOPE.decode(body)
    except careful.UNREADABLE:
        return careful.decode_by_parts(body)
    inferences = envelope.inferences
    if isinstance(inferences, wire.InferenceColumns):
        careful.refuse_unequal_columns(
            {name: len(column) for name in wire.INFERENCE_FIELDS if (column := getattr(inferences, name)) is not None}
        )
        if inferences.time is None or inferences.latency_ms is None:
            return careful.decode_by_parts(body)
    else:
        inferences = Section(inferences or [])
    return Decoded(
        envelope,
        inferences,
        Section(envelope.windows or []),
        Section(envelope.events or []),
        Section(envelope.states or []),
        envelope.counters,
        [],
        0,
    )
