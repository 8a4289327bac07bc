"""Hypertables, their indexes, and the SQL functions with which psql and Grafana read stored histograms.

Everything here exists in the Apache-licensed edition of TimescaleDB: no continuous aggregates, no compression, no
jobs. The columns are those of telemetry.columns; a test compares the two.
"""

from django.db import migrations

MEASURES = (
    "latency preprocess inference postprocess queue energy power temperature memory accelerator_utilization "
    "queue_depth input_quality confidence"
).split()
COUNTS = (
    "count outcome_error outcome_timeout outcome_oom fallback_cpu fallback_smaller_model fallback_cloud "
    "fallback_reject retries throttled"
).split()


def rollup_values(integer: str) -> str:
    """The value columns of a roll-up tier; doubles of 8 bytes stand first so that no padding is stored."""
    columns = [f"{name} {integer} NOT NULL" for name in COUNTS]
    columns.append("throttled_ms int8 NOT NULL")
    for measure in MEASURES:
        columns.append(f"{measure}_n {integer} NOT NULL")
        columns.append(f"{measure}_sum float8 NOT NULL")
    columns += [
        "latency_sumsq float8 NOT NULL",
        "energy_sumsq float8 NOT NULL",
        "latency_min float4",
        "latency_max float4",
        "temperature_max float4",
        "power_max float4",
        "memory_max float4",
        "idle_energy_mj float8 NOT NULL",
        "covered_ms int8 NOT NULL",
        "latency_hist bytea",
        "energy_hist bytea",
        "confidence_hist bytea",
        "input_quality_hist bytea",
        "class_counts bytea",
    ]
    return ",\n  ".join(columns)


INFERENCE = """
CREATE TABLE inference (
  time timestamptz NOT NULL,
  device_id int4 NOT NULL,
  context_id int4 NOT NULL,
  batch_id int8 NOT NULL,
  latency_ms float4 NOT NULL,
  preprocess_ms float4,
  inference_ms float4,
  postprocess_ms float4,
  queue_ms float4,
  energy_mj float4,
  power_w float4,
  temperature_c float4,
  memory_mb float4,
  accelerator_utilization float4,
  queue_depth float4,
  input_quality float4,
  confidence float4,
  predicted_class int4,
  fallback int2 NOT NULL,
  retries int2 NOT NULL,
  throttled bool NOT NULL,
  outcome int2 NOT NULL,
  sample_ref text
)
"""

DEVICE_MINUTE = f"""
CREATE TABLE device_minute (
  bucket timestamptz NOT NULL,
  device_id int4 NOT NULL,
  context_id int4 NOT NULL,
  batch_id int8 NOT NULL,
  {rollup_values("int4")}
)
"""

DEVICE_CELL = """
CREATE TABLE device_cell (
  bucket timestamptz NOT NULL,
  device_id int4 NOT NULL,
  context_id int4 NOT NULL,
  batch_id int8 NOT NULL,
  throttled bool NOT NULL,
  temperature_band int2 NOT NULL,
  quality_band int2 NOT NULL,
  fallback int2 NOT NULL,
  count int4 NOT NULL,
  latency_sum float8 NOT NULL,
  latency_log_sum float8 NOT NULL,
  energy_n int4 NOT NULL,
  energy_sum float8 NOT NULL,
  confidence_n int4 NOT NULL,
  confidence_sum float8 NOT NULL
)
"""

COHORT_CELL = """
CREATE TABLE cohort_cell (
  bucket timestamptz NOT NULL,
  context_id int4 NOT NULL,
  hardware_target_id int4 NOT NULL,
  region_id int4 NOT NULL,
  throttled bool NOT NULL,
  temperature_band int2 NOT NULL,
  fallback int2 NOT NULL,
  count int8 NOT NULL,
  latency_sum float8 NOT NULL,
  energy_n int8 NOT NULL,
  energy_sum float8 NOT NULL,
  confidence_n int8 NOT NULL,
  confidence_sum float8 NOT NULL
)
"""

EVENT = """
CREATE TABLE event (
  time timestamptz NOT NULL,
  device_id int4 NOT NULL,
  context_id int4,
  batch_id int8,
  event_id uuid NOT NULL,
  type text NOT NULL,
  severity int2 NOT NULL,
  detail jsonb NOT NULL
)
"""

DEVICE_STATE = """
CREATE TABLE device_state (
  time timestamptz NOT NULL,
  device_id int4 NOT NULL,
  temperature_c float4,
  power_w float4,
  memory_mb float4,
  battery_pct float4
)
"""

COUNTER_RATE = """
CREATE TABLE counter_rate (
  time timestamptz NOT NULL,
  device_id int4 NOT NULL,
  name text NOT NULL,
  delta float8 NOT NULL,
  seconds float8 NOT NULL
)
"""


def device_tier(name: str) -> str:
    """One row per bucket, device and context."""
    return f"""
CREATE TABLE {name} (
  bucket timestamptz NOT NULL,
  device_id int4 NOT NULL,
  context_id int4 NOT NULL,
  {rollup_values("int8")}
)
"""


def cohort_tier(name: str) -> str:
    """One row per bucket, context, hardware target and region."""
    return f"""
CREATE TABLE {name} (
  bucket timestamptz NOT NULL,
  context_id int4 NOT NULL,
  hardware_target_id int4 NOT NULL,
  region_id int4 NOT NULL,
  {rollup_values("int8")}
)
"""


# name, DDL, time column, chunk interval
HYPERTABLES = [
    ("inference", INFERENCE, "time", "6 hours"),
    ("device_minute", DEVICE_MINUTE, "bucket", "1 day"),
    ("device_hour", device_tier("device_hour"), "bucket", "7 days"),
    ("device_day", device_tier("device_day"), "bucket", "180 days"),
    ("cohort_5min", cohort_tier("cohort_5min"), "bucket", "7 days"),
    ("cohort_hour", cohort_tier("cohort_hour"), "bucket", "60 days"),
    ("cohort_day", cohort_tier("cohort_day"), "bucket", "720 days"),
    ("device_cell", DEVICE_CELL, "bucket", "7 days"),
    ("cohort_cell", COHORT_CELL, "bucket", "30 days"),
    ("event", EVENT, "time", "7 days"),
    ("device_state", DEVICE_STATE, "time", "1 day"),
    ("counter_rate", COUNTER_RATE, "time", "7 days"),
]

INDEXES = [
    # Raw rows carry no unique index: the ledger proves uniqueness, and COPY pays for every index.
    "CREATE INDEX inference_device_time ON inference (device_id, time DESC)",
    "CREATE INDEX device_minute_device_bucket ON device_minute (device_id, bucket DESC)",
    "CREATE UNIQUE INDEX device_hour_key ON device_hour (device_id, bucket DESC, context_id)",
    "CREATE UNIQUE INDEX device_day_key ON device_day (device_id, bucket DESC, context_id)",
    "CREATE UNIQUE INDEX cohort_5min_key ON cohort_5min (bucket, context_id, hardware_target_id, region_id)",
    "CREATE UNIQUE INDEX cohort_hour_key ON cohort_hour (bucket, context_id, hardware_target_id, region_id)",
    "CREATE UNIQUE INDEX cohort_day_key ON cohort_day (bucket, context_id, hardware_target_id, region_id)",
    "CREATE INDEX device_cell_device_bucket ON device_cell (device_id, bucket DESC)",
    "CREATE UNIQUE INDEX cohort_cell_key ON cohort_cell "
    "(bucket, context_id, hardware_target_id, region_id, throttled, temperature_band, fallback)",
    "CREATE INDEX event_device_time ON event (device_id, time DESC)",
    "CREATE INDEX event_time ON event (time DESC)",
    "CREATE INDEX event_type_time ON event (type, time DESC)",
    "CREATE INDEX device_state_device_time ON device_state (device_id, time DESC)",
    "CREATE INDEX counter_rate_device_time ON counter_rate (device_id, time DESC)",
]

# What the tiers do not contain yet. `dirty_bucket` is written by ingest (one mark per batch, context and five
# minutes: no two batches write the same row, so it is never hot) and taken by the folding task, which alone writes
# `stale_bucket`: hours and days of a device that a reader must take from the finer tier until they are folded.
BOOKKEEPING = [
    """
CREATE TABLE dirty_bucket (
  batch_id int8 NOT NULL,
  device_id int4 NOT NULL,
  context_id int4 NOT NULL,
  bucket timestamptz NOT NULL,
  marked_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (batch_id, context_id, bucket)
)
""",
    """
CREATE TABLE stale_bucket (
  tier text NOT NULL CHECK (tier IN ('device_hour', 'device_day')),
  device_id int4 NOT NULL,
  bucket timestamptz NOT NULL,
  PRIMARY KEY (tier, device_id, bucket)
)
""",
    "CREATE INDEX stale_bucket_due ON stale_bucket (tier, bucket)",
    # Rewritten with every batch: room on the page lets PostgreSQL leave the indexes alone.
    "ALTER TABLE telemetry_devicelatest SET (fillfactor = 60)",
    "ALTER TABLE telemetry_releasespan SET (fillfactor = 80)",
]

FUNCTIONS = [
    # int4 and uint4 are read byte by byte because PostgreSQL has no little-endian reader.
    """
CREATE FUNCTION ridgeline_uint(packed bytea, at int, width int DEFAULT 4) RETURNS int8
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT sum(get_byte(packed, at + i)::int8 << (8 * i))::int8 FROM generate_series(0, width - 1) AS i
$$
""",
    """
CREATE FUNCTION ridgeline_histogram(packed bytea)
RETURNS TABLE (bin int, lower float8, upper float8, count int8)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  -- Little-endian int4 offset, uint4 zero count, uint4 counts; or, where a count needs more (offset + 2^30 then marks
  -- it), int4 offset, four zero bytes, uint8 zero count, uint8 counts. See telemetry.histograms. Bin i covers
  -- (2^(i/32), 2^((i+1)/32)]; zeros come as a bin without number and lower = upper = 0.
  WITH head AS (
    SELECT CASE WHEN field >= 2147483648 THEN field - 4294967296 ELSE field END AS field
    FROM ridgeline_uint(packed, 0) AS field
  ), layout AS (
    SELECT CASE WHEN field >= 536870912 THEN field - 1073741824 ELSE field END AS first_bin,
           CASE WHEN field >= 536870912 THEN 8 ELSE 4 END AS width
    FROM head
  ), counts AS (
    SELECT CASE WHEN i >= 0 THEN first_bin + i END AS bin,
           ridgeline_uint(packed, (i + 2) * width, width) AS count
    FROM layout, generate_series(-1, octet_length(packed) / width - 3) AS i
  )
  SELECT bin::int, CASE WHEN bin IS NULL THEN 0 ELSE power(2, bin / 32.0::float8) END,
         CASE WHEN bin IS NULL THEN 0 ELSE power(2, (bin + 1) / 32.0::float8) END, count
  FROM counts WHERE count > 0
$$
""",
    """
CREATE FUNCTION ridgeline_unit_histogram(packed bytea)
RETURNS TABLE (bin int, lower float8, upper float8, count int8)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  -- Confidence and input quality: the same packing, a hundred equal bins on [0, 1].
  SELECT bin, bin / 100.0::float8, (bin + 1) / 100.0::float8, count FROM ridgeline_histogram(packed) WHERE bin IS NOT NULL
$$
""",
    """
CREATE FUNCTION ridgeline_quantile(histograms bytea[], p float8) RETURNS float8
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  -- The p-quantile of exponential histograms merged: SELECT ridgeline_quantile(array_agg(latency_hist), 0.95) ...
  -- The value is the one within 1.09 % of every value in the bin of the order statistic at rank ceil(p n).
  WITH bins AS (
    SELECT bin, lower, upper, sum(h.count) AS count
    FROM unnest(histograms) AS packed, ridgeline_histogram(packed) AS h
    GROUP BY bin, lower, upper
  ), ranked AS (
    SELECT lower, upper, sum(count) OVER (ORDER BY lower) AS below, sum(count) OVER () AS total FROM bins
  )
  SELECT CASE WHEN upper = 0 THEN 0 ELSE 2 * lower * upper / (lower + upper) END
  FROM ranked WHERE below >= greatest(ceil(p * total), 1) ORDER BY lower LIMIT 1
$$
""",
    """
CREATE FUNCTION ridgeline_classes(packed bytea) RETURNS TABLE (class_id int, count int8)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  -- Pairs of little-endian int4 class id and uint4 count; a class may come more than once.
  SELECT ridgeline_uint(packed, i * 8)::int, sum(ridgeline_uint(packed, i * 8 + 4))::int8
  FROM generate_series(0, octet_length(packed) / 8 - 1) AS i GROUP BY 1
$$
""",
]

DROP_FUNCTIONS = """
DROP FUNCTION ridgeline_classes(bytea);
DROP FUNCTION ridgeline_quantile(bytea[], float8);
DROP FUNCTION ridgeline_unit_histogram(bytea);
DROP FUNCTION ridgeline_histogram(bytea);
DROP FUNCTION ridgeline_uint(bytea, int, int);
"""


class Migration(migrations.Migration):
    dependencies = [("telemetry", "0001_initial")]

    operations = [
        migrations.RunSQL("CREATE EXTENSION IF NOT EXISTS timescaledb", migrations.RunSQL.noop),
        *(
            operation
            for name, ddl, column, interval in HYPERTABLES
            for operation in (
                migrations.RunSQL(ddl, f"DROP TABLE {name}"),
                migrations.RunSQL(
                    f"SELECT create_hypertable('{name}', by_range('{column}', INTERVAL '{interval}'), "
                    "create_default_indexes => false)",
                    migrations.RunSQL.noop,
                ),
            )
        ),
        # Readers of one bucket or a range of them over all devices.
        *(
            migrations.RunSQL(
                f"CREATE INDEX {name}_time ON {name} ({column} DESC)", migrations.RunSQL.noop
            )
            for name, column in [
                ("device_minute", "bucket"),
                ("device_hour", "bucket"),
                ("device_day", "bucket"),
            ]
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in INDEXES),
        migrations.RunSQL(BOOKKEEPING[0], "DROP TABLE dirty_bucket"),
        migrations.RunSQL(BOOKKEEPING[1], "DROP TABLE stale_bucket"),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in BOOKKEEPING[2:]),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in FUNCTIONS[:-1]),
        migrations.RunSQL(FUNCTIONS[-1], DROP_FUNCTIONS),
    ]
