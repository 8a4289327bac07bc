-- Batches whose partial rows follow from raw rows alone: those that sent neither windows nor a mere sample of rows.
SELECT id, device_id, context_id, inferences, min_time, max_time
FROM telemetry_batch
WHERE id > %(after)s AND min_time < %(end)s AND max_time >= %(start)s
  AND NOT sampled AND windows = 0 AND inferences > 0
ORDER BY id
LIMIT %(limit)s
