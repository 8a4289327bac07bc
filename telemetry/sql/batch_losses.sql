-- Records that are known to be lost, where and when they were made. Two kinds: numbers missing from the sequence of a
-- boot (each missing batch taken to be as large as its neighbours), and loss that a device admits (a window stands for
-- as many inferences as the windows beside it). Both kinds are rare, and each is read through an index of its own.
SELECT 'gap' AS kind, gap.device_id, coalesce(before.context_id, after.context_id) AS context_id,
  coalesce(gap.after_time, gap.before_time) AS start, gap.before_time AS "end",
  (gap.missing_to - gap.missing_from + 1)::float8 * greatest(coalesce((
    coalesce(before.recorded, after.recorded) + coalesce(after.recorded, before.recorded)
  ) / 2.0, 1), 1)::float8 AS records
FROM telemetry_batchgap gap
LEFT JOIN LATERAL (
  SELECT context_id, CASE WHEN sampled THEN 0 ELSE inferences END + window_inferences AS recorded FROM telemetry_batch
  WHERE device_id = gap.device_id AND boot_id = gap.boot_id AND batch_seq = gap.missing_from - 1
) AS before ON true
LEFT JOIN LATERAL (
  SELECT context_id, CASE WHEN sampled THEN 0 ELSE inferences END + window_inferences AS recorded FROM telemetry_batch
  WHERE device_id = gap.device_id AND boot_id = gap.boot_id AND batch_seq = gap.missing_to + 1
) AS after ON true
WHERE gap.filled_at IS NULL AND gap.before_time >= %(start)s AND coalesce(gap.after_time, gap.before_time) < %(end)s
  AND (%(device_ids)s::int8[] IS NULL OR gap.device_id = ANY(%(device_ids)s::int8[]))
UNION ALL
SELECT 'dropped', batch.device_id, batch.context_id, coalesce(batch.min_time, batch.received_at),
  coalesce(batch.min_time, batch.received_at),
  (CASE WHEN batch.sampled THEN 0 ELSE batch.dropped_inferences END)::float8
    + batch.dropped_windows * greatest(coalesce(batch.window_inferences::float8 / nullif(batch.windows, 0), 1), 1)
FROM telemetry_batch batch
WHERE (batch.dropped_inferences > 0 OR batch.dropped_windows > 0 OR batch.dropped_events > 0)
  AND batch.received_at >= %(start)s
  AND coalesce(batch.min_time, batch.received_at) >= %(start)s AND coalesce(batch.min_time, batch.received_at) < %(end)s
  AND (%(device_ids)s::int8[] IS NULL OR batch.device_id = ANY(%(device_ids)s::int8[]))
