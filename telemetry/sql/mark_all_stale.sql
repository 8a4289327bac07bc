-- Every hour and day of devices that has minutes, or a stored hour, in a range is to be written anew.
INSERT INTO stale_bucket (tier, device_id, bucket)
SELECT DISTINCT tier.name, found.device_id, time_bucket(tier.width, found.hour)
FROM (
  SELECT device_id, time_bucket('1 hour', bucket) AS hour FROM device_minute
  WHERE bucket >= %(start)s AND bucket < %(end)s
  GROUP BY 1, 2
  UNION
  SELECT device_id, bucket FROM device_hour WHERE bucket >= %(start)s AND bucket < %(end)s
) AS found,
  (VALUES ('device_hour', INTERVAL '1 hour'), ('device_day', INTERVAL '1 day')) AS tier (name, width)
WHERE tier.name = ANY(%(tiers)s)
ON CONFLICT DO NOTHING
