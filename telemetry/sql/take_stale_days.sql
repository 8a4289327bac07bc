-- Stale days that are over and of which every hour is written.
DELETE FROM stale_bucket s
USING (
  SELECT day.device_id, day.bucket FROM stale_bucket day
  WHERE day.tier = 'device_day' AND day.bucket <= %(begun_before)s
    AND NOT EXISTS (
      SELECT FROM stale_bucket hour
      WHERE hour.tier = 'device_hour' AND hour.device_id = day.device_id
        AND hour.bucket >= day.bucket AND hour.bucket < day.bucket + INTERVAL '1 day'
    )
  ORDER BY day.bucket, day.device_id LIMIT %(limit)s
) AS due
WHERE s.tier = 'device_day' AND s.device_id = due.device_id AND s.bucket = due.bucket
RETURNING s.device_id, s.bucket
