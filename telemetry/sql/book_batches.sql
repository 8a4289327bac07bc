-- Book batches of distinct devices in the ledger, mark their buckets, and renew what is known of the devices; nothing for
-- a batch that was booked before.
-- One statement, so that new batches and duplicates cost one round trip. The ledger's unique constraint decides: of two
-- connections with the same batch the second waits here for the first to commit, then gets no row. Everything is done in
-- the order of the devices, so that two such statements never wait for each other.
-- Returns, for each new batch, its place among those sent, its id, and the context and the last event time that the
-- device had before (null for none).
WITH sent AS (
  SELECT * FROM json_to_recordset(%(batches)s::json) AS (
    place int4, device int8, boot_id text, batch_seq int8, sha256 text, received_at timestamptz, sent_at timestamptz,
    clock_offset_us int8, clock_synced bool, clock_error_ms float8, context int8, workload int8, release int8,
    inferences int4, windows int4, window_inferences int8, events int4, states int4, counters int4, rejected int4,
    unknown_fields int4, sampled bool, dropped_inferences int8, dropped_windows int8, dropped_events int8,
    min_time timestamptz, max_time timestamptz, bytes int4, reply text, marks timestamptz[],
    latency_p95_ms float8, energy_mj float8, confidence float8, temperature_c float8, power_w float8, memory_mb float8,
    battery_pct float8, throttled bool, fallback_rate float8, error_rate float8, clock_skew_ms float8)
), before AS (
  SELECT sent.device, latest.context_id, latest.last_event_time
  FROM sent JOIN telemetry_devicelatest AS latest ON latest.device_id = sent.device AND latest.workload_id = sent.workload
), booked AS (
  INSERT INTO telemetry_batch (
    device_id, boot_id, batch_seq, sha256, received_at, sent_at, clock_offset_us, clock_synced, clock_error_ms,
    context_id, inferences, windows, window_inferences, events, states, counters, rejected, unknown_fields, sampled,
    dropped_inferences, dropped_windows, dropped_events, min_time, max_time, bytes, reply)
  SELECT
    device, boot_id, batch_seq, decode(sha256, 'hex'), received_at, sent_at, clock_offset_us, clock_synced,
    clock_error_ms, context, inferences, windows, window_inferences, events, states, counters, rejected,
    unknown_fields, sampled, dropped_inferences, dropped_windows, dropped_events, min_time, max_time, bytes,
    reply::jsonb
  FROM sent ORDER BY device
  ON CONFLICT (device_id, boot_id, batch_seq) DO NOTHING
  RETURNING id, device_id
), new AS (
  SELECT booked.id, sent.* FROM booked JOIN sent ON sent.device = booked.device_id
), marked AS (
  INSERT INTO dirty_bucket (batch_id, device_id, context_id, bucket)
  SELECT id, device, context, bucket FROM new, unnest(marks) AS bucket
), renewed AS (
  INSERT INTO telemetry_devicelatest AS latest (
    device_id, workload_id, release_id, context_id, last_seen_at, last_event_time, boot_id, batch_seq,
    latency_p95_ms, energy_mj, confidence, temperature_c, power_w, memory_mb, battery_pct, throttled,
    fallback_rate, error_rate, clock_skew_ms, release_since)
  SELECT
    device, workload, release, context, received_at, max_time, boot_id, batch_seq, latency_p95_ms, energy_mj,
    confidence, temperature_c, power_w, memory_mb, battery_pct, throttled, fallback_rate, error_rate, clock_skew_ms,
    min_time
  FROM new WHERE workload IS NOT NULL ORDER BY device
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
SELECT new.place, new.id, before.context_id, (extract(epoch FROM before.last_event_time) * 1000000)::int8
FROM new LEFT JOIN before ON before.device = new.device
