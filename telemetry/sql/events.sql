-- Events of a selection, newest first, after a position in that order (time and id of the last one seen).
SELECT event.time, event.device_id, device.serial, event.context_id, event.event_id, event.type, event.severity,
  event.detail
FROM event
JOIN fleet_device device ON device.id = event.device_id
WHERE event.time >= %(start)s AND event.time < %(end)s AND event.severity >= %(severity)s
  AND (%(device_ids)s::int4[] IS NULL OR event.device_id = ANY(%(device_ids)s::int4[]))
  AND (%(hardware_target_ids)s::int8[] IS NULL OR device.hardware_target_id = ANY(%(hardware_target_ids)s::int8[]))
  AND (%(region_ids)s::int8[] IS NULL OR device.region_id = ANY(%(region_ids)s::int8[]))
  AND (%(context_ids)s::int4[] IS NULL OR event.context_id = ANY(%(context_ids)s::int4[]))
  AND (%(types)s::text[] IS NULL OR event.type = ANY(%(types)s::text[]))
  AND (%(after_time)s::timestamptz IS NULL
    OR (event.time, event.event_id) < (%(after_time)s::timestamptz, %(after_id)s::uuid))
ORDER BY event.time DESC, event.event_id DESC
LIMIT %(limit)s
