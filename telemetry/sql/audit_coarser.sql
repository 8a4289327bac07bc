-- Rows of a tier and of the next finer one over whole buckets of the coarser, summed side by side in one snapshot.
-- For device tiers, hours and days that are known to lack something are left out on both sides.
WITH stale AS MATERIALIZED (
  SELECT device_id, bucket FROM stale_bucket WHERE tier = %(tier)s AND bucket >= %(start)s AND bucket < %(end)s
  UNION
  SELECT device_id, time_bucket(%(width)s, bucket) FROM dirty_bucket WHERE bucket >= %(start)s AND bucket < %(end)s
  UNION
  SELECT device_id, time_bucket(%(width)s, bucket) FROM stale_bucket
  WHERE tier = 'device_hour' AND bucket >= %(start)s AND bucket < %(end)s
)
SELECT {finer_name}, context_id, {merged}
FROM {finer} tier
WHERE bucket >= %(start)s AND bucket < %(end)s {finer_condition}
GROUP BY context_id
UNION ALL
SELECT {tier_name}, context_id, {merged}
FROM {tier} tier
WHERE bucket >= %(start)s AND bucket < %(end)s {tier_condition}
GROUP BY context_id
