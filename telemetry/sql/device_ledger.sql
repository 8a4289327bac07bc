-- What the ledger says of some devices in a range, per device.
SELECT device_id, count(*), sum(inferences)::int8, sum(windows)::int8, sum(window_inferences)::int8, sum(events)::int8,
  sum(states)::int8, sum(counters)::int8, sum(rejected)::int8, sum(unknown_fields)::int8, sum(repeats)::int8,
  sum(dropped_inferences)::int8, sum(dropped_windows)::int8, sum(dropped_events)::int8, sum(bytes)::int8,
  count(*) FILTER (WHERE received_at - max_time > %(late)s), count(*) FILTER (WHERE NOT clock_synced),
  max(abs(clock_offset_us)) / 1000.0::float8, max(received_at),
  sum(CASE WHEN sampled THEN 0 ELSE inferences END + window_inferences)::int8
FROM telemetry_batch
WHERE device_id = ANY(%(device_ids)s::int8[]) AND received_at >= %(start)s AND received_at < %(end)s
GROUP BY device_id
