-- Partial rows of some batches that are about to be written anew.
DELETE FROM {table} partial
USING unnest(%(batch_ids)s::int8[], %(device_ids)s::int4[]) AS batch (id, device_id)
WHERE partial.device_id = batch.device_id AND partial.batch_id = batch.id
  AND partial.bucket >= %(begin)s AND partial.bucket <= %(end)s
