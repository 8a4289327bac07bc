-- Raw rows and partial rows of the same batches and time, summed side by side in one snapshot. Left out are batches
-- with windows or samples, whose partial rows say more than their raw rows.
WITH plain AS NOT MATERIALIZED (
  SELECT id FROM telemetry_batch WHERE NOT sampled AND windows = 0
)
SELECT 'raw', context_id, count(*)::int8,
  count(*) FILTER (WHERE outcome = 1), count(*) FILTER (WHERE outcome = 2), count(*) FILTER (WHERE outcome = 3),
  count(*) FILTER (WHERE fallback = 1), count(*) FILTER (WHERE fallback = 2), count(*) FILTER (WHERE fallback = 3),
  count(*) FILTER (WHERE fallback = 4), sum(retries)::int8, count(*) FILTER (WHERE throttled), {raw_sums}
FROM inference JOIN plain ON plain.id = inference.batch_id
WHERE time >= %(start)s AND time < %(end)s
GROUP BY context_id
UNION ALL
SELECT 'minute', context_id, {minute_sums}
FROM device_minute JOIN plain ON plain.id = device_minute.batch_id
WHERE bucket >= %(start)s AND bucket < %(end)s
GROUP BY context_id
