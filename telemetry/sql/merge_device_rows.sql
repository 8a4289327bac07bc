-- Rows of a finer device tier merged into one per (bucket, device, context) of a coarser one.
SELECT due.bucket, due.device_id, finer.context_id, {merged}
FROM unnest(%(device_ids)s::int4[], %(buckets)s::timestamptz[]) AS due (device_id, bucket)
JOIN {finer} finer
  ON finer.device_id = due.device_id AND finer.bucket >= due.bucket AND finer.bucket < due.bucket + %(width)s
WHERE finer.bucket >= %(first)s AND finer.bucket < %(last)s
GROUP BY due.bucket, due.device_id, finer.context_id
