"""Every reason for which ingest refuses something, and what the keeper of the device does about it.

Two kinds, told apart by the status of the answer. A bad record is left out of a batch that is stored, so there is no
status to it (None). A request that is refused whole is known by status and code, as its sender was told them (of tokens
the sender is told less than stands here). A test provokes every one of them and finds it on the ingest health page, and
compares this table with the code, so that none is missing.
"""

from __future__ import annotations

from types import MappingProxyType

# The codes of a single value that cannot be read, in a record or in the envelope.
VALUES = ("type", "missing", "enum", "range", "length", "character")

_RECORDS = {
    "type": "A value is of the wrong type: send numbers as numbers, times as RFC 3339 or microseconds.",
    "missing": "A field without which the record means nothing is not there: time and latency_ms of an inference, say.",
    "enum": "A name that the protocol does not know: compare its lists of outcomes, fallbacks and severities.",
    "range": "A value lies outside of what is possible: check the unit, and whether the reading overflowed.",
    "length": "A text, list or detail is longer than the protocol allows.",
    "character": "Text holds a character that cannot be stored or read: U+0000, or half of a surrogate pair.",
    "inconsistent": "The parts of a window contradict each other: counts, buckets and sums must belong together.",
    "future": "The time lies in the future: the device's clock is wrong. Send clock.synced false and uptimes.",
    "too_old": "The time lies before what is kept of raw data: the clock is wrong, or the device was offline too long.",
    "unit": "An OpenTelemetry instrument has another unit than the server reads.",
    "temporality": "An OpenTelemetry instrument must report delta or cumulative values.",
}
_BODIES = {
    "syntax": "The body is no JSON that can be read: NaN, a cut body, or another format.",
    "encoding": "The compressed data is damaged or ends too early.",
    "schema": "The schema must be ridgeline.telemetry/1.",
    "unequal_columns": "Columns of one section must have equal lengths, with null where a record lacks a value.",
    "missing": "The envelope lacks what says whose data it is: schema, boot_id, batch_seq, workload, release.",
    "type": "A field of the envelope without which the batch cannot be understood is of the wrong type.",
    "enum": "A field of the envelope has a value that the protocol does not know.",
    "range": "A field of the envelope lies outside of what is possible, as a negative batch_seq.",
    "length": "A field of the envelope is empty or too long.",
    "character": "A field of the envelope holds a character that cannot be stored: U+0000.",
}
_ENROL = "Enrol the device again, or rotate its token."

REASONS = MappingProxyType(
    {
        **{(None, code): remedy for code, remedy in _RECORDS.items()},
        **{(400, code): f"{remedy} The device must not send it again as it is." for code, remedy in _BODIES.items()},
        (401, "token_wrong_secret"): f"The token's secret is wrong: it was cut or mixed up. {_ENROL}",
        (401, "token_revoked"): f"The token was revoked or replaced by a newer one. {_ENROL}",
        (401, "token_expired"): f"The token has expired. {_ENROL}",
        (403, "device_pending"): "The device waits for approval: accept it on its page.",
        (403, "device_suspended"): "The device is suspended: resume it on its page, and it sends what it kept.",
        (403, "device_retired"): "The device is retired: it comes back only by enrolling again.",
        (403, "other_device"): "The envelope names another device: only a gateway's token may, for devices behind it.",
        (403, "permission_denied"): "A person's token was used to send telemetry: give the device a token of its own.",
        (409, "batch_conflict"): (
            "Another body came under the same boot and sequence number: the device must count its batches and start a "
            "new boot_id after each reboot, and never change a batch once it is formed."
        ),
        (411, "length_required"): "The body came in chunks, which this server does not read: send a Content-Length.",
        (413, "too_large"): "Too large: the device must split its batch.",
        (415, "unknown_encoding"): "Compress with gzip or zstd, or not at all.",
        (415, "unknown_media_type"): "Send application/json (or protobuf to the OpenTelemetry address).",
        (429, "too_many_requests"): (
            "The device sends too often: it must wait as Retry-After says. Raise the allowance if this is its usual "
            "load."
        ),
    }
)


def remedy_of(status: int | None, code: str) -> str:
    """What to do about a refusal."""
    return REASONS.get((status, code), "Compare the sample with the device protocol.")
