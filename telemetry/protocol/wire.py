"""The envelope and its records as msgspec types: what the strict, fast decoding accepts without a second look."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

SCHEMA = "ridgeline.telemetry/1"

# 9999-12-31T23:59:59.999999Z, the last instant that RFC 3339 can say.
MAX_TIME_US = 253_402_300_799_999_999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Time = Annotated[int, Meta(ge=0, le=MAX_TIME_US)] | Annotated[datetime, Meta(tz=True)]
Fallback = Literal["none", "cpu", "smaller_model", "cloud", "reject"]
Outcome = Literal["ok", "error", "timeout", "out_of_memory"]
Severity = Literal["debug", "info", "warning", "error", "critical"]
Label = Annotated[str, Meta(max_length=128)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Retries = Annotated[int, Meta(ge=0, le=32_767)]
Count = Annotated[int, Meta(ge=0, le=2_147_483_647)]
Amount = Annotated[float, Meta(ge=0)]
Percentage = Annotated[float, Meta(ge=0, le=100)]


def microseconds(time: int | datetime) -> int:
    """A wire time as integer microseconds since the epoch."""
    if isinstance(time, int):
        return time
    # A double holds microseconds of any year up to 2242 exactly after rounding, and is three times as fast as a
    # division of timedeltas.
    seconds = time.timestamp()
    if abs(seconds) < 2**33:
        return round(seconds * 1e6)
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


class Clock(Struct, forbid_unknown_fields=True):
    """What the device knows of its own clock."""

    synced: bool | None = None
    source: Label | None = None
    error_ms: Amount | None = None


class ContextLabels(Struct, forbid_unknown_fields=True):
    """The label set under which everything in the envelope was measured."""

    workload: Name | None = None
    release: Name | None = None
    model_version: Label | None = None
    firmware_version: Label | None = None
    driver_version: Label | None = None
    runtime_version: Label | None = None
    accelerator: Label | None = None
    power_mode: Annotated[str, Meta(max_length=64)] | None = None


class Dropped(Struct, forbid_unknown_fields=True):
    """Loss that the device admits, since the batch before."""

    inferences: Count | None = None
    windows: Count | None = None
    events: Count | None = None


class Inference(Struct, forbid_unknown_fields=True, gc=False):
    """One inference as a row. Ranges are checked later, for all rows at once."""

    time: Time
    latency_ms: float
    preprocess_ms: float | None = None
    inference_ms: float | None = None
    postprocess_ms: float | None = None
    queue_ms: float | None = None
    energy_mj: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    memory_mb: float | None = None
    accelerator_utilization: float | None = None
    queue_depth: float | None = None
    input_quality: float | None = None
    confidence: float | None = None
    predicted_class: Label | None = None
    fallback: Fallback | None = None
    retries: Retries | None = None
    throttled: bool | None = None
    outcome: Outcome | None = None
    sample_ref: Label | None = None
    # monotonic clock of the device at the event, for clocks that are not synced
    uptime_ms: Amount | None = None


class InferenceColumns(Struct, forbid_unknown_fields=True):
    """Inferences as columns of equal length; null stands for a field that a record lacks."""

    time: list[Time] | None = None
    latency_ms: list[float] | None = None
    preprocess_ms: list[float | None] | None = None
    inference_ms: list[float | None] | None = None
    postprocess_ms: list[float | None] | None = None
    queue_ms: list[float | None] | None = None
    energy_mj: list[float | None] | None = None
    power_w: list[float | None] | None = None
    temperature_c: list[float | None] | None = None
    memory_mb: list[float | None] | None = None
    accelerator_utilization: list[float | None] | None = None
    queue_depth: list[float | None] | None = None
    input_quality: list[float | None] | None = None
    confidence: list[float | None] | None = None
    predicted_class: list[Label | None] | None = None
    fallback: list[Fallback | None] | None = None
    retries: list[Retries | None] | None = None
    throttled: list[bool | None] | None = None
    outcome: list[Outcome | None] | None = None
    sample_ref: list[Label | None] | None = None
    uptime_ms: list[Amount | None] | None = None


class ExponentialCounts(Struct, forbid_unknown_fields=True):
    """An OpenTelemetry exponential histogram of a positive quantity; an empty object is no histogram."""

    scale: Annotated[int, Meta(ge=-10, le=20)] = 5
    offset: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] = 0
    counts: list[Count] = []
    zero_count: Count = 0
    sum: Amount | None = None
    min: Amount | None = None
    max: Amount | None = None


class UnitCounts(Struct, forbid_unknown_fields=True):
    """Counts in a hundred equal bins on [0, 1]; trailing zeros may be left out."""

    counts: Annotated[list[Count], Meta(max_length=100)] = []
    sum: Amount | None = None


class Window(Struct, forbid_unknown_fields=True):
    """Many inferences summed up by the device."""

    start: Time
    end: Time
    count: Count
    outcomes: dict[Outcome, Count] = {}
    fallbacks: dict[Fallback, Count] = {}
    retries: Count = 0
    throttled_ms: Amount = 0.0
    idle_energy_mj: Amount = 0.0
    latency_ms: ExponentialCounts | None = None
    energy_mj: ExponentialCounts | None = None
    confidence: UnitCounts | None = None
    input_quality: UnitCounts | None = None
    classes: dict[Label, Count] = {}
    uptime_ms: Amount | None = None


class Event(Struct, forbid_unknown_fields=True):
    """Something that happened on the device. Without an id it gets one from its place in the batch."""

    time: Time
    type: Name
    id: UUID | None = None
    severity: Severity = "info"
    detail: dict | None = None
    uptime_ms: Amount | None = None


class State(Struct, forbid_unknown_fields=True):
    """A reading of the device itself."""

    time: Time
    temperature_c: Annotated[float, Meta(ge=-273.15, le=1e6)] | None = None
    power_w: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    memory_mb: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    battery_pct: Percentage | None = None
    uptime_ms: Amount | None = None


class Counters(Struct, forbid_unknown_fields=True):
    """Cumulative counters of the device at one time."""

    time: Time
    values: dict[Label, Amount]
    uptime_ms: Amount | None = None


class Envelope(Struct, forbid_unknown_fields=True):
    """A batch: who sent it when, under which labels, and its records by section."""

    schema: Literal["ridgeline.telemetry/1"]
    boot_id: Name
    batch_seq: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    # The device that a gateway speaks for.
    device: Label | None = None
    sent_at: Time | None = None
    uptime_ms: Amount | None = None
    clock: Clock | None = None
    context: ContextLabels | None = None
    dropped: Dropped | None = None
    inferences_role: Literal["complete", "sample"] | None = None
    inferences: list[Inference] | InferenceColumns | None = None
    windows: list[Window] | None = None
    events: list[Event] | None = None
    counters: Counters | None = None
    states: list[State] | None = None


INFERENCE_FIELDS = Inference.__struct_fields__
