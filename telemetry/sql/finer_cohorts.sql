-- Rows of a finer cohort tier merged to the width of a coarser one.
SELECT time_bucket(%(width)s, bucket) AS bucket, context_id, hardware_target_id, region_id, {merged}
FROM {finer}
WHERE bucket >= %(start)s AND bucket < %(end)s
GROUP BY 1, 2, 3, 4
