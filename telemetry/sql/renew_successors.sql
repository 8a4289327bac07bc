-- The readings behind late ones rise since those, no longer since the ones before.
UPDATE counter_rate AS later SET
  delta = CASE WHEN next.boot_id = %(boot_id)s AND next.value >= reading.value THEN next.value - reading.value
               ELSE next.value END,
  seconds = EXTRACT(epoch FROM next.time - %(time)s)::float8
FROM unnest(%(names)s::text[], %(values)s::float8[]) AS reading(name, value)
CROSS JOIN LATERAL (
  SELECT time, value, boot_id FROM counter_rate
  WHERE device_id = %(device)s AND name = reading.name AND value IS NOT NULL AND time >= %(time)s
    AND (time, boot_id COLLATE "C", value) > (%(time)s, %(boot_id)s::text COLLATE "C", reading.value)
  ORDER BY time, boot_id COLLATE "C", value LIMIT 1
) AS next
WHERE later.device_id = %(device)s AND later.name = reading.name AND later.time = next.time
  AND later.boot_id = next.boot_id AND later.value = next.value
