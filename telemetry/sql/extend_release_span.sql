-- Stretch or open the span of event time in which a device ran a release.
-- The batch belongs to the span that begins last before the batch's end, if that is of the same release; else to the
-- span right after it, if that is (data that comes late from the time before the span was first seen); else it opens one.
WITH earlier AS (
  SELECT id, release_id FROM telemetry_releasespan
  WHERE device_id = %(device)s AND workload_id = %(workload)s AND first_time <= %(max_time)s
  ORDER BY first_time DESC, id DESC LIMIT 1
), later AS (
  SELECT id, release_id FROM telemetry_releasespan
  WHERE device_id = %(device)s AND workload_id = %(workload)s AND first_time > %(max_time)s
  ORDER BY first_time, id LIMIT 1
), mine AS (
  SELECT id FROM earlier WHERE release_id = %(release)s
  UNION ALL
  SELECT id FROM later
  WHERE release_id = %(release)s AND NOT EXISTS (SELECT FROM earlier WHERE release_id = %(release)s)
), stretched AS (
  UPDATE telemetry_releasespan SET
    first_time = LEAST(first_time, %(min_time)s), last_time = GREATEST(last_time, %(max_time)s)
  WHERE id IN (SELECT id FROM mine)
  RETURNING first_time, last_time
), opened AS (
  INSERT INTO telemetry_releasespan (device_id, workload_id, release_id, first_time, last_time, first_boot_id)
  SELECT %(device)s, %(workload)s, %(release)s, %(min_time)s, %(max_time)s, %(boot_id)s
  WHERE NOT EXISTS (SELECT FROM mine)
  RETURNING first_time, last_time
)
SELECT first_time, last_time FROM stretched UNION ALL SELECT first_time, last_time FROM opened
