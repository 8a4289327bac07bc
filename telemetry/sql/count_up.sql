-- Turn cumulative counters into increases. A value from another boot, or below the last one, means that the counter
-- began again at zero, so all of it is increase. A reading older than the last one known adds nothing: its increase is
-- already part of the next one's. The first reading of a counter only sets its beginning.
WITH reading AS (
  SELECT name, value FROM unnest(%(names)s::text[], %(values)s::float8[]) AS r(name, value)
), last AS (
  SELECT name, value, time, boot_id FROM telemetry_counter
  WHERE device_id = %(device)s AND name = ANY(%(names)s) FOR UPDATE
), increase AS (
  SELECT reading.name, EXTRACT(epoch FROM %(time)s - last.time)::float8 AS seconds,
         CASE WHEN last.boot_id = %(boot_id)s AND reading.value >= last.value
              THEN reading.value - last.value ELSE reading.value END AS delta
  FROM reading JOIN last USING (name) WHERE %(time)s > last.time
), kept AS (
  INSERT INTO telemetry_counter AS counter (device_id, name, value, time, boot_id)
  SELECT %(device)s, name, value, %(time)s, %(boot_id)s FROM reading
  ON CONFLICT (device_id, name) DO UPDATE SET
    value = excluded.value, time = excluded.time, boot_id = excluded.boot_id
  WHERE excluded.time > counter.time
)
INSERT INTO counter_rate (time, device_id, name, delta, seconds)
SELECT %(time)s, %(device)s, name, delta, seconds FROM increase
