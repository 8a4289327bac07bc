-- Energy of some devices, partial row by partial row: from these come its variation and what a start costs.
SELECT device_id::int8, batch_id, bucket, energy_n::int8, energy_sum, energy_sumsq
FROM device_minute
WHERE device_id = ANY(%(device_ids)s::int4[]) AND bucket >= %(start)s AND bucket < %(end)s AND energy_n > 0
  AND (%(context_ids)s::int4[] IS NULL OR context_id = ANY(%(context_ids)s::int4[]))
ORDER BY device_id, bucket, batch_id
