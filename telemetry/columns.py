"""Columns of the time-series tables, and the codes stored in them: shared by COPY, the SQL of the store, and tests."""

from dataclasses import dataclass
from typing import Final

# Codes are stored as the index in these tuples; new ones are only ever appended.
FALLBACKS: Final = ("none", "cpu", "smaller_model", "cloud", "reject")
OUTCOMES: Final = ("ok", "error", "timeout", "out_of_memory")
SEVERITIES: Final = ("debug", "info", "warning", "error", "critical")

# Every measure has `<measure>_n` and `<measure>_sum` in the roll-ups; both are needed because a device may leave any
# measure but latency out of a record.
MEASURES: Final = (
    "latency",
    "preprocess",
    "inference",
    "postprocess",
    "queue",
    "energy",
    "power",
    "temperature",
    "memory",
    "accelerator_utilization",
    "queue_depth",
    "input_quality",
    "confidence",
)

# The column of `inference` that holds a measure.
RAW_COLUMN: Final = {
    "latency": "latency_ms",
    "preprocess": "preprocess_ms",
    "inference": "inference_ms",
    "postprocess": "postprocess_ms",
    "queue": "queue_ms",
    "energy": "energy_mj",
    "power": "power_w",
    "temperature": "temperature_c",
    "memory": "memory_mb",
    "accelerator_utilization": "accelerator_utilization",
    "queue_depth": "queue_depth",
    "input_quality": "input_quality",
    "confidence": "confidence",
}

UNITS: Final = {
    "latency": "ms",
    "preprocess": "ms",
    "inference": "ms",
    "postprocess": "ms",
    "queue": "ms",
    "energy": "mJ",
    "power": "W",
    "temperature": "°C",
    "memory": "MB",
    "accelerator_utilization": "1",
    "queue_depth": "1",
    "input_quality": "1",
    "confidence": "1",
}


@dataclass(frozen=True)
class Column:
    """A column of a time-series table.

    `type` is the PostgreSQL type name as COPY's `set_types` takes it. `merge` says how two rows of a roll-up become
    one: "sum", "min", "max", "histogram" (see telemetry.histograms), "classes", or "" for a key or a raw column.
    """

    name: str
    type: str
    nullable: bool = False
    merge: str = ""


INFERENCE: Final = (
    Column("time", "timestamptz"),
    Column("device_id", "int4"),
    Column("context_id", "int4"),
    Column("batch_id", "int8"),
    Column("latency_ms", "float4"),
    *(Column(RAW_COLUMN[measure], "float4", nullable=True) for measure in MEASURES if measure != "latency"),
    Column("predicted_class", "int4", nullable=True),
    Column("fallback", "int2"),
    Column("retries", "int2"),
    Column("throttled", "bool"),
    Column("outcome", "int2"),
    Column("sample_ref", "text", nullable=True),
)

# Counts of records by what happened to them; `throttled` counts records, `throttled_ms` is time as windows report it.
COUNTS: Final = (
    "count",
    "outcome_error",
    "outcome_timeout",
    "outcome_oom",
    "fallback_cpu",
    "fallback_smaller_model",
    "fallback_cloud",
    "fallback_reject",
    "retries",
    "throttled",
)
FALLBACK_COLUMN: Final = {kind: f"fallback_{kind}" for kind in FALLBACKS[1:]}
OUTCOME_COLUMN: Final = {"error": "outcome_error", "timeout": "outcome_timeout", "out_of_memory": "outcome_oom"}

# Exponential histograms (positive quantities) and unit-interval histograms (shares), see telemetry.histograms.
EXPONENTIAL_HISTOGRAMS: Final = ("latency_hist", "energy_hist")
UNIT_HISTOGRAMS: Final = ("confidence_hist", "input_quality_hist")
HISTOGRAMS: Final = EXPONENTIAL_HISTOGRAMS + UNIT_HISTOGRAMS


def _rollup_values(integer: str) -> tuple[Column, ...]:
    """The value columns that every roll-up tier has, with the given type for counts."""
    return (
        *(Column(name, integer, merge="sum") for name in COUNTS),
        Column("throttled_ms", "int8", merge="sum"),
        *(
            column
            for measure in MEASURES
            for column in (
                Column(f"{measure}_n", integer, merge="sum"),
                Column(f"{measure}_sum", "float8", merge="sum"),
            )
        ),
        Column("latency_sumsq", "float8", merge="sum"),
        Column("energy_sumsq", "float8", merge="sum"),
        Column("latency_min", "float4", nullable=True, merge="min"),
        Column("latency_max", "float4", nullable=True, merge="max"),
        Column("temperature_max", "float4", nullable=True, merge="max"),
        Column("power_max", "float4", nullable=True, merge="max"),
        Column("memory_max", "float4", nullable=True, merge="max"),
        Column("idle_energy_mj", "float8", merge="sum"),
        Column("covered_ms", "int8", merge="sum"),
        *(Column(name, "bytea", nullable=True, merge="histogram") for name in HISTOGRAMS),
        Column("class_counts", "bytea", nullable=True, merge="classes"),
    )


# A partial row covers one batch's minute, so int4 is ample there; coarser tiers of a large fleet need int8.
PARTIAL_VALUES: Final = _rollup_values("int4")
ROLLUP_VALUES: Final = _rollup_values("int8")
ROLLUP_VALUE: Final = {column.name: column for column in ROLLUP_VALUES}

DEVICE_MINUTE: Final = (
    Column("bucket", "timestamptz"),
    Column("device_id", "int4"),
    Column("context_id", "int4"),
    Column("batch_id", "int8"),
    *PARTIAL_VALUES,
)

DEVICE_TIER_KEYS: Final = (
    Column("bucket", "timestamptz"),
    Column("device_id", "int4"),
    Column("context_id", "int4"),
)
COHORT_TIER_KEYS: Final = (
    Column("bucket", "timestamptz"),
    Column("context_id", "int4"),
    Column("hardware_target_id", "int4"),
    Column("region_id", "int4"),
)
DEVICE_TIER: Final = DEVICE_TIER_KEYS + ROLLUP_VALUES
COHORT_TIER: Final = COHORT_TIER_KEYS + ROLLUP_VALUES

# Ten-degree bands and tenths of input quality; -1 where the record carried no such reading.
DEVICE_CELL: Final = (
    Column("bucket", "timestamptz"),
    Column("device_id", "int4"),
    Column("context_id", "int4"),
    Column("batch_id", "int8"),
    Column("throttled", "bool"),
    Column("temperature_band", "int2"),
    Column("quality_band", "int2"),
    Column("fallback", "int2"),
    Column("count", "int4", merge="sum"),
    Column("latency_sum", "float8", merge="sum"),
    Column("latency_log_sum", "float8", merge="sum"),
    Column("energy_n", "int4", merge="sum"),
    Column("energy_sum", "float8", merge="sum"),
    Column("confidence_n", "int4", merge="sum"),
    Column("confidence_sum", "float8", merge="sum"),
)

# The same by cohort and hour, without input quality: what energy by temperature is read from for a whole fleet.
COHORT_CELL: Final = (
    *COHORT_TIER_KEYS,
    Column("throttled", "bool"),
    Column("temperature_band", "int2"),
    Column("fallback", "int2"),
    Column("count", "int8", merge="sum"),
    Column("latency_sum", "float8", merge="sum"),
    Column("energy_n", "int8", merge="sum"),
    Column("energy_sum", "float8", merge="sum"),
    Column("confidence_n", "int8", merge="sum"),
    Column("confidence_sum", "float8", merge="sum"),
)

EVENT: Final = (
    Column("time", "timestamptz"),
    Column("device_id", "int4"),
    Column("context_id", "int4", nullable=True),
    Column("batch_id", "int8", nullable=True),
    Column("event_id", "uuid"),
    Column("type", "text"),
    Column("severity", "int2"),
    Column("detail", "jsonb"),
)

DEVICE_STATE: Final = (
    Column("time", "timestamptz"),
    Column("device_id", "int4"),
    Column("temperature_c", "float4", nullable=True),
    Column("power_w", "float4", nullable=True),
    Column("memory_mb", "float4", nullable=True),
    Column("battery_pct", "float4", nullable=True),
)

# One row per reading of a counter; `delta` and `seconds` count since the reading before it.
COUNTER_RATE: Final = (
    Column("time", "timestamptz"),
    Column("device_id", "int4"),
    Column("name", "text"),
    Column("delta", "float8"),
    Column("seconds", "float8"),
    Column("value", "float8", nullable=True),
    Column("boot_id", "text", nullable=True),
)

# One mark per (batch, context, five minutes): partial rows that the cohort tiers do not contain yet.
DIRTY_BUCKET: Final = (
    Column("batch_id", "int8"),
    Column("device_id", "int4"),
    Column("context_id", "int4"),
    Column("bucket", "timestamptz"),
)

TABLES: Final = {
    "inference": INFERENCE,
    "device_minute": DEVICE_MINUTE,
    "device_hour": DEVICE_TIER,
    "device_day": DEVICE_TIER,
    "cohort_5min": COHORT_TIER,
    "cohort_hour": COHORT_TIER,
    "cohort_day": COHORT_TIER,
    "device_cell": DEVICE_CELL,
    "cohort_cell": COHORT_CELL,
    "event": EVENT,
    "device_state": DEVICE_STATE,
    "counter_rate": COUNTER_RATE,
    "dirty_bucket": DIRTY_BUCKET,
}


def names(columns: tuple[Column, ...]) -> tuple[str, ...]:
    """The names of columns, in order."""
    return tuple(column.name for column in columns)


def types(columns: tuple[Column, ...]) -> tuple[str, ...]:
    """The PostgreSQL types of columns, in order, as `psycopg.Copy.set_types` takes them."""
    return tuple(column.type for column in columns)
