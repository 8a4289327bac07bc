-- What some devices recorded in [start, end) by condition: one row per device, context and combination of conditions.
-- A cell row stands for an hour, which belongs to the span in which it begins. Windows carry no conditions and so add
-- nothing here: attribution rests on single records.
SELECT device_id::int8, context_id::int8, throttled::int4::int8, temperature_band::int8, quality_band::int8,
  fallback::int8, sum(count)::float8, sum(latency_sum), sum(energy_n)::float8, sum(energy_sum),
  sum(confidence_n)::float8, sum(confidence_sum)
FROM device_cell
WHERE device_id = ANY(%(device_ids)s::int4[]) AND context_id = ANY(%(context_ids)s::int4[])
  AND bucket >= %(start)s AND bucket < %(end)s
GROUP BY device_id, context_id, throttled, temperature_band, quality_band, fallback
ORDER BY device_id, context_id, throttled, temperature_band, quality_band, fallback
