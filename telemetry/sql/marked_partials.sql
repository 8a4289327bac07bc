-- The partial rows of marked (batch, context, five minutes), merged by cohort. The literal bounds let the planner leave
-- out chunks; the join by device uses the index of device_minute, so the cost is that of the new rows alone.
SELECT mark.bucket, mark.context_id, device.hardware_target_id, device.region_id, {merged}
FROM unnest(%(batch_ids)s::int8[], %(device_ids)s::int4[], %(context_ids)s::int4[], %(buckets)s::timestamptz[])
  AS mark (batch_id, device_id, context_id, bucket)
JOIN device_minute partial
  ON partial.device_id = mark.device_id
  AND partial.bucket >= mark.bucket AND partial.bucket < mark.bucket + INTERVAL '5 minutes'
  AND partial.batch_id = mark.batch_id AND partial.context_id = mark.context_id
JOIN fleet_device device ON device.id = mark.device_id
WHERE partial.bucket >= %(first)s AND partial.bucket < %(last)s
GROUP BY mark.bucket, mark.context_id, device.hardware_target_id, device.region_id
