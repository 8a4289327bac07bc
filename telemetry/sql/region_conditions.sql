-- Inferences of some devices in a stretch of time whose value lies in a range, by device and condition. The bands are
-- those of device_cell (telemetry.columns), so that both can be set against each other.
SELECT device_id::int8, throttled::int4::int8,
  CASE WHEN temperature_c IS NULL THEN -1 ELSE least(greatest(floor(temperature_c::float8 / 10 + 1e-6), 0), 20) END::int8,
  CASE WHEN input_quality IS NULL THEN -1 ELSE least(greatest(floor(input_quality::float8 * 10 + 1e-6), 0), 9) END::int8,
  fallback::int8, count(*)::int8
FROM inference
WHERE device_id = ANY(%(device_ids)s::int4[]) AND time >= %(start)s AND time < %(end)s
  AND {value}::float8 > %(low)s AND {value}::float8 <= %(high)s
  AND (%(context_ids)s::int4[] IS NULL OR context_id = ANY(%(context_ids)s::int4[]))
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4, 5
