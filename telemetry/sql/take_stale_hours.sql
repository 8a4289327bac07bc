-- Stale hours that are over, oldest first. The running hour stays stale: it would be written again with every batch.
DELETE FROM stale_bucket s
USING (
  SELECT device_id, bucket FROM stale_bucket
  WHERE tier = 'device_hour' AND bucket <= %(begun_before)s
  ORDER BY bucket, device_id LIMIT %(limit)s
) AS due
WHERE s.tier = 'device_hour' AND s.device_id = due.device_id AND s.bucket = due.bucket
RETURNING s.device_id, s.bucket
