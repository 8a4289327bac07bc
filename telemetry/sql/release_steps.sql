-- How many spans of releases begin and end at which point of a grid over [start, end): a device belongs to a release
-- until it reports another one, and for one step after its last record. What travels is a row per change, however many
-- devices there are. Times on the grid are exact: microseconds in a double, rounded before they are divided.
WITH span AS (
  SELECT span.release_id, span.first_time, span.last_time + %(step)s AS heard_until,
    lead(span.first_time) OVER (PARTITION BY span.device_id, span.workload_id ORDER BY span.first_time) AS replaced
  FROM telemetry_releasespan span
  JOIN fleet_device device ON device.id = span.device_id
  WHERE span.first_time < %(end)s AND span.last_time >= %(start)s - %(step)s AND {filter}
), cut AS (
  SELECT release_id, first_time AS begin, least(heard_until, replaced) AS finish FROM span
)
SELECT release_id,
  least(greatest(ceil(round(date_part('epoch', begin - %(start)s) * 1e6) / %(step_us)s), 0), %(points)s)::int,
  least(greatest(ceil(round(date_part('epoch', finish - %(start)s) * 1e6) / %(step_us)s), 0), %(points)s)::int,
  count(*)
FROM cut
GROUP BY 1, 2, 3
