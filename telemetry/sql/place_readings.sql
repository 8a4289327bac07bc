-- Readings that came late, each after the one before it in the order of time (boot and value where times are equal).
-- A reading that is there already is not there twice.
INSERT INTO counter_rate (time, device_id, name, delta, seconds, value, boot_id)
SELECT %(time)s, %(device)s, reading.name,
  CASE WHEN before.value IS NULL THEN 0
       WHEN before.boot_id = %(boot_id)s AND reading.value >= before.value THEN reading.value - before.value
       ELSE reading.value END,
  COALESCE(EXTRACT(epoch FROM %(time)s - before.time), 0)::float8, reading.value, %(boot_id)s
FROM unnest(%(names)s::text[], %(values)s::float8[]) AS reading(name, value)
LEFT JOIN LATERAL (
  SELECT time, value, boot_id FROM counter_rate
  WHERE device_id = %(device)s AND name = reading.name AND value IS NOT NULL AND time <= %(time)s
    AND (time, boot_id COLLATE "C", value) < (%(time)s, %(boot_id)s::text COLLATE "C", reading.value)
  ORDER BY time DESC, boot_id COLLATE "C" DESC, value DESC LIMIT 1
) AS before ON true
WHERE NOT EXISTS (
  SELECT FROM counter_rate
  WHERE device_id = %(device)s AND name = reading.name AND time = %(time)s AND boot_id = %(boot_id)s
    AND value = reading.value
)
