-- The raw rows of some batches, batch by batch.
SELECT raw.batch_id, raw.time, {measures}, raw.fallback, raw.outcome, raw.retries, raw.throttled, raw.predicted_class
FROM unnest(%(batch_ids)s::int8[], %(device_ids)s::int4[], %(first)s::timestamptz[], %(last)s::timestamptz[])
  AS batch (id, device_id, first, last)
JOIN inference raw
  ON raw.device_id = batch.device_id AND raw.batch_id = batch.id AND raw.time >= batch.first AND raw.time <= batch.last
WHERE raw.time >= %(begin)s AND raw.time <= %(end)s
ORDER BY raw.batch_id
