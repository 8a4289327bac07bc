-- Bad records and requests refused whole, by reason: how many, from how many devices, the newest and a sample of it.
-- A reason may be given by a section of a batch (status null) or by the status of a refused request (section empty).
WITH reasons AS (
  SELECT record.section, record.code, NULL::int AS status, record.device_id, record.received_at AS at, record.id
  FROM telemetry_quarantinedrecord record
  JOIN fleet_device device ON device.id = record.device_id
  WHERE record.received_at >= %(start)s AND record.received_at < %(end)s AND {filter}
  UNION ALL
  SELECT '', refused.code, refused.status, refused.device_id, refused.at, refused.id
  FROM telemetry_requestreject refused
  LEFT JOIN fleet_device device ON device.id = refused.device_id
  WHERE refused.at >= %(start)s AND refused.at < %(end)s AND {filter}
)
SELECT section, code, status, count(*), count(DISTINCT device_id), max(at), (array_agg(id ORDER BY at DESC, id DESC))[1]
FROM reasons
GROUP BY section, code, status
ORDER BY count(*) DESC, section, code
