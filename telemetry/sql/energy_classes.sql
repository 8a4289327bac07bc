-- Energy and latency by predicted class, from the raw rows of some devices.
SELECT predicted_class, count(energy_mj), avg(energy_mj::float8), coalesce(stddev_pop(energy_mj::float8), 0),
  avg(latency_ms::float8)
FROM inference
WHERE device_id = ANY(%(device_ids)s::int4[]) AND time >= %(start)s AND time < %(end)s
  AND predicted_class IS NOT NULL AND energy_mj IS NOT NULL
  AND (%(context_ids)s::int4[] IS NULL OR context_id = ANY(%(context_ids)s::int4[]))
GROUP BY predicted_class
ORDER BY predicted_class
