-- Batches received in a time whose ledger row names another number of inferences than there are raw rows.
SELECT batch.id, batch.device_id, batch.inferences, coalesce(raw.n, 0)
FROM telemetry_batch batch
LEFT JOIN LATERAL (
  SELECT count(*) AS n FROM inference
  WHERE device_id = batch.device_id AND batch_id = batch.id AND time >= batch.min_time AND time <= batch.max_time
) AS raw ON true
WHERE batch.received_at >= %(start)s AND batch.received_at < %(end)s AND batch.inferences > 0
  AND batch.min_time >= %(kept)s AND coalesce(raw.n, 0) <> batch.inferences
LIMIT %(limit)s
