-- The partial rows that are folded and the rows of the finest cohort tier, summed side by side in one snapshot.
SELECT 'minute', context_id, {merged}
FROM device_minute partial
WHERE bucket >= %(start)s AND bucket < %(end)s
  AND EXISTS (SELECT FROM fleet_device WHERE id = partial.device_id)
  AND NOT EXISTS (
    SELECT FROM dirty_bucket mark
    WHERE mark.batch_id = partial.batch_id AND mark.context_id = partial.context_id
      AND mark.bucket = time_bucket(INTERVAL '5 minutes', partial.bucket)
  )
GROUP BY context_id
UNION ALL
SELECT 'cohort_5min', context_id, {merged}
FROM cohort_5min
WHERE bucket >= %(start)s AND bucket < %(end)s
GROUP BY context_id
