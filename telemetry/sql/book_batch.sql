-- Book a batch in the ledger, mark its buckets, and renew what is known of the device; nothing where it was booked before.
-- One statement, so that a new batch and a duplicate cost one round trip each. The ledger's unique constraint decides:
-- of two connections with the same batch the second waits here for the first to commit, then gets no row.
-- Returns the batch's id, and the context and the last event time that the device had before (null for none).
WITH before AS (
  SELECT context_id, last_event_time FROM telemetry_devicelatest
  WHERE device_id = %(device)s AND workload_id = %(workload)s
), booked AS (
  INSERT INTO telemetry_batch (
    device_id, boot_id, batch_seq, sha256, received_at, sent_at, clock_offset_us, clock_synced, clock_error_ms,
    context_id, inferences, windows, window_inferences, events, states, counters, rejected, unknown_fields, sampled,
    dropped_inferences, dropped_windows, dropped_events, min_time, max_time, bytes, reply)
  VALUES (
    %(device)s, %(boot_id)s, %(batch_seq)s, %(sha256)s, %(received_at)s, %(sent_at)s, %(clock_offset_us)s,
    %(clock_synced)s, %(clock_error_ms)s, %(context)s, %(inferences)s, %(windows)s, %(window_inferences)s,
    %(events)s, %(states)s, %(counters)s, %(rejected)s, %(unknown_fields)s, %(sampled)s, %(dropped_inferences)s,
    %(dropped_windows)s, %(dropped_events)s, %(min_time)s, %(max_time)s, %(bytes)s, %(reply)s)
  ON CONFLICT (device_id, boot_id, batch_seq) DO NOTHING
  RETURNING id
), marked AS (
  INSERT INTO dirty_bucket (batch_id, device_id, context_id, bucket)
  SELECT booked.id, %(device)s, %(context)s, bucket FROM booked, unnest(%(marks)s::timestamptz[]) AS bucket
), renewed AS (
  INSERT INTO telemetry_devicelatest AS latest (
    device_id, workload_id, release_id, context_id, last_seen_at, last_event_time, boot_id, batch_seq,
    latency_p95_ms, energy_mj, confidence, temperature_c, power_w, memory_mb, battery_pct, throttled,
    fallback_rate, error_rate, clock_skew_ms, release_since)
  SELECT
    %(device)s, %(workload)s, %(release)s::int8, %(context)s, %(received_at)s, %(max_time)s, %(boot_id)s, %(batch_seq)s,
    %(latency_p95_ms)s::float8, %(energy_mj)s::float8, %(confidence)s::float8, %(temperature_c)s::float8, %(power_w)s::float8, %(memory_mb)s::float8,
    %(battery_pct)s::float8, %(throttled)s::bool, %(fallback_rate)s::float8, %(error_rate)s::float8, %(clock_skew_ms)s::float8, %(min_time)s
  FROM booked WHERE %(workload)s IS NOT NULL
  ON CONFLICT (device_id, workload_id) DO UPDATE SET
    last_seen_at = GREATEST(latest.last_seen_at, excluded.last_seen_at),
    last_event_time = GREATEST(latest.last_event_time, excluded.last_event_time),
    (release_id, context_id, boot_id, batch_seq, latency_p95_ms, energy_mj, confidence, temperature_c, power_w,
     memory_mb, battery_pct, throttled, fallback_rate, error_rate, clock_skew_ms, release_since) = (
      -- A batch that comes late leaves the newer figures alone; a figure that the newest batch lacks stays.
      SELECT
        CASE WHEN newer THEN excluded.release_id ELSE latest.release_id END,
        CASE WHEN newer THEN excluded.context_id ELSE latest.context_id END,
        CASE WHEN newer THEN excluded.boot_id ELSE latest.boot_id END,
        CASE WHEN newer THEN excluded.batch_seq ELSE latest.batch_seq END,
        CASE WHEN newer THEN COALESCE(excluded.latency_p95_ms, latest.latency_p95_ms) ELSE latest.latency_p95_ms END,
        CASE WHEN newer THEN COALESCE(excluded.energy_mj, latest.energy_mj) ELSE latest.energy_mj END,
        CASE WHEN newer THEN COALESCE(excluded.confidence, latest.confidence) ELSE latest.confidence END,
        CASE WHEN newer THEN COALESCE(excluded.temperature_c, latest.temperature_c) ELSE latest.temperature_c END,
        CASE WHEN newer THEN COALESCE(excluded.power_w, latest.power_w) ELSE latest.power_w END,
        CASE WHEN newer THEN COALESCE(excluded.memory_mb, latest.memory_mb) ELSE latest.memory_mb END,
        CASE WHEN newer THEN COALESCE(excluded.battery_pct, latest.battery_pct) ELSE latest.battery_pct END,
        CASE WHEN newer THEN excluded.throttled ELSE latest.throttled END,
        CASE WHEN newer THEN COALESCE(excluded.fallback_rate, latest.fallback_rate) ELSE latest.fallback_rate END,
        CASE WHEN newer THEN COALESCE(excluded.error_rate, latest.error_rate) ELSE latest.error_rate END,
        CASE WHEN newer THEN COALESCE(excluded.clock_skew_ms, latest.clock_skew_ms) ELSE latest.clock_skew_ms END,
        CASE WHEN NOT newer THEN latest.release_since
             WHEN latest.release_id = excluded.release_id THEN LEAST(latest.release_since, excluded.release_since)
             ELSE excluded.release_since END
      FROM (SELECT COALESCE(excluded.last_event_time >= latest.last_event_time, latest.last_event_time IS NULL)
                   AS newer) AS age
    )
)
SELECT booked.id, before.context_id, (extract(epoch FROM before.last_event_time) * 1000000)::int8
FROM booked LEFT JOIN before ON true
