-- Hours and days of devices whose stored row lacks what was just folded: readers take them from the finer tier.
INSERT INTO stale_bucket (tier, device_id, bucket)
SELECT DISTINCT tier.name, mark.device_id, time_bucket(tier.width, mark.bucket)
FROM unnest(%(device_ids)s::int4[], %(buckets)s::timestamptz[]) AS mark (device_id, bucket),
  (VALUES ('device_hour', INTERVAL '1 hour'), ('device_day', INTERVAL '1 day')) AS tier (name, width)
ON CONFLICT DO NOTHING
