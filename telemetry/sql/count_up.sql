-- Turn cumulative counters into increases: one row per reading, by how much the counter rose since the reading before.
-- A value from another boot, or below the one before, means that the counter began again at zero, so all of it is
-- increase. The first reading of a counter rises by nothing: it only sets the beginning.
-- Returns the names that were placed. Left out are readings that do not come after the newest one known, and first ones
-- that another connection was faster with: place_readings.sql puts those between their neighbours.
WITH reading AS (
  SELECT name, value FROM unnest(%(names)s::text[], %(values)s::float8[]) AS r(name, value) ORDER BY name
), last AS (
  SELECT name, value, time, boot_id FROM telemetry_counter
  WHERE device_id = %(device)s AND name = ANY(%(names)s::text[]) ORDER BY name FOR UPDATE
), kept AS (
  INSERT INTO telemetry_counter AS counter (device_id, name, value, time, boot_id)
  SELECT %(device)s, name, value, %(time)s, %(boot_id)s FROM reading
  ON CONFLICT (device_id, name) DO UPDATE SET
    value = excluded.value, time = excluded.time, boot_id = excluded.boot_id
  WHERE excluded.time > counter.time
  -- nobody has deleted or updated a row that was just inserted
  RETURNING name, xmax = 0 AS is_first
)
INSERT INTO counter_rate (time, device_id, name, delta, seconds, value, boot_id)
SELECT %(time)s, %(device)s, reading.name,
  CASE WHEN last.name IS NULL THEN 0
       WHEN last.boot_id = %(boot_id)s AND reading.value >= last.value THEN reading.value - last.value
       ELSE reading.value END,
  COALESCE(EXTRACT(epoch FROM %(time)s - last.time), 0)::float8, reading.value, %(boot_id)s
FROM reading JOIN kept USING (name) LEFT JOIN last USING (name)
WHERE kept.is_first = (last.name IS NULL)
RETURNING name
