-- Of readings of the same time the last in order is the newest one known.
UPDATE telemetry_counter AS counter SET value = reading.value, boot_id = %(boot_id)s
FROM unnest(%(names)s::text[], %(values)s::float8[]) AS reading(name, value)
WHERE counter.device_id = %(device)s AND counter.name = reading.name AND counter.time = %(time)s
  AND (counter.boot_id COLLATE "C", counter.value) < (%(boot_id)s::text COLLATE "C", reading.value)
