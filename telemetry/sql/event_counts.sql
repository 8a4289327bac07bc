-- How many events of each type and severity a selection raised, and on how many devices.
SELECT event.type, event.severity, count(*), count(DISTINCT event.device_id), min(event.time), max(event.time)
FROM event
JOIN fleet_device device ON device.id = event.device_id
WHERE event.time >= %(start)s AND event.time < %(end)s AND event.severity >= %(severity)s
  AND (%(device_ids)s::int4[] IS NULL OR event.device_id = ANY(%(device_ids)s::int4[]))
  AND (%(hardware_target_ids)s::int8[] IS NULL OR device.hardware_target_id = ANY(%(hardware_target_ids)s::int8[]))
  AND (%(region_ids)s::int8[] IS NULL OR device.region_id = ANY(%(region_ids)s::int8[]))
  AND (%(context_ids)s::int4[] IS NULL OR event.context_id = ANY(%(context_ids)s::int4[]))
  AND (%(types)s::text[] IS NULL OR event.type = ANY(%(types)s::text[]))
GROUP BY event.type, event.severity
ORDER BY event.severity DESC, count(*) DESC, event.type
