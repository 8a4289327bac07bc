-- The partial rows that the cohort tiers are the sum of: all but those with a mark. Marks and rows are read in one
-- snapshot, so a batch that commits meanwhile is either in neither or left out by its mark.
SELECT time_bucket(INTERVAL '5 minutes', partial.bucket) AS bucket, partial.context_id, device.hardware_target_id,
  device.region_id, {merged}
FROM device_minute partial
JOIN fleet_device device ON device.id = partial.device_id
WHERE partial.bucket >= %(start)s AND partial.bucket < %(end)s
  AND NOT EXISTS (
    SELECT FROM dirty_bucket mark
    WHERE mark.batch_id = partial.batch_id AND mark.context_id = partial.context_id
      AND mark.bucket = time_bucket(INTERVAL '5 minutes', partial.bucket)
  )
GROUP BY 1, 2, 3, 4
