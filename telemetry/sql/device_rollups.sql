-- Roll-ups of some devices over [start, end), each span read from the coarsest tier that has it: days, hours at the
-- edges, minutes at the ragged edges. A stored hour or day that lacks data which is marked or not folded yet is left out
-- and its finer rows are read instead, in the same snapshot, so nothing is missed and nothing counts twice whatever the
-- folding task is doing. first_hour..last_hour holds the hours that may be used, first_day..last_day the days in it.
WITH marked AS MATERIALIZED (
  SELECT DISTINCT device_id, time_bucket('1 hour', bucket) AS bucket FROM dirty_bucket
  WHERE device_id = ANY(%(device_ids)s::int4[]) AND bucket >= %(first_hour)s AND bucket < %(last_hour)s
), stale_hour AS MATERIALIZED (
  SELECT device_id, bucket FROM stale_bucket
  WHERE tier = 'device_hour' AND device_id = ANY(%(device_ids)s::int4[])
    AND bucket >= %(first_hour)s AND bucket < %(last_hour)s
  UNION
  SELECT device_id, bucket FROM marked
), stale_day AS MATERIALIZED (
  SELECT device_id, bucket FROM stale_bucket
  WHERE tier = 'device_day' AND device_id = ANY(%(device_ids)s::int4[])
    AND bucket >= %(first_day)s AND bucket < %(last_day)s
  UNION
  SELECT device_id, time_bucket('1 day', bucket) FROM marked WHERE bucket >= %(first_day)s AND bucket < %(last_day)s
), covered AS (
  -- whole days
  SELECT bucket, device_id, context_id, {columns} FROM device_day tier
  WHERE device_id = ANY(%(device_ids)s::int4[]) AND bucket >= %(first_day)s AND bucket < %(last_day)s
    AND NOT EXISTS (SELECT FROM stale_day s WHERE s.device_id = tier.device_id AND s.bucket = tier.bucket)
  UNION ALL
  -- hours of days that cannot be used
  SELECT tier.bucket, tier.device_id, tier.context_id, {tier_columns}
  FROM stale_day day
  JOIN device_hour tier
    ON tier.device_id = day.device_id AND tier.bucket >= day.bucket AND tier.bucket < day.bucket + INTERVAL '1 day'
  WHERE tier.bucket >= %(first_day)s AND tier.bucket < %(last_day)s
    AND NOT EXISTS (SELECT FROM stale_hour s WHERE s.device_id = tier.device_id AND s.bucket = tier.bucket)
  UNION ALL
  -- hours before the first whole day
  SELECT bucket, device_id, context_id, {columns} FROM device_hour tier
  WHERE device_id = ANY(%(device_ids)s::int4[]) AND bucket >= %(first_hour)s AND bucket < %(first_day)s
    AND NOT EXISTS (SELECT FROM stale_hour s WHERE s.device_id = tier.device_id AND s.bucket = tier.bucket)
  UNION ALL
  -- hours after the last whole day
  SELECT bucket, device_id, context_id, {columns} FROM device_hour tier
  WHERE device_id = ANY(%(device_ids)s::int4[]) AND bucket >= %(last_day)s AND bucket < %(last_hour)s
    AND NOT EXISTS (SELECT FROM stale_hour s WHERE s.device_id = tier.device_id AND s.bucket = tier.bucket)
  UNION ALL
  -- minutes of hours that cannot be used
  SELECT tier.bucket, tier.device_id, tier.context_id, {tier_columns}
  FROM stale_hour hour
  JOIN device_minute tier
    ON tier.device_id = hour.device_id AND tier.bucket >= hour.bucket AND tier.bucket < hour.bucket + INTERVAL '1 hour'
  WHERE tier.bucket >= %(first_hour)s AND tier.bucket < %(last_hour)s
  UNION ALL
  -- minutes before the first whole hour
  SELECT bucket, device_id, context_id, {columns} FROM device_minute
  WHERE device_id = ANY(%(device_ids)s::int4[]) AND bucket >= %(start)s AND bucket < %(first_hour)s
  UNION ALL
  -- minutes after the last whole hour
  SELECT bucket, device_id, context_id, {columns} FROM device_minute
  WHERE device_id = ANY(%(device_ids)s::int4[]) AND bucket >= %(last_hour)s AND bucket < %(end)s
)
SELECT {selected}
FROM covered
WHERE %(context_ids)s::int4[] IS NULL OR context_id = ANY(%(context_ids)s::int4[])
{grouping}
