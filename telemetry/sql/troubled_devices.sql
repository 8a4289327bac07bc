-- Devices with something wrong in a range, worst first: read from the small tables of what went wrong, never from the
-- whole ledger, so that the cost is that of the trouble and not of the traffic.
WITH found AS (
  SELECT device_id, count(*) AS rejected, 0::int8 AS refused, 0::int8 AS throttled, 0::int8 AS missing,
    0::int8 AS dropped
  FROM telemetry_quarantinedrecord WHERE received_at >= %(start)s AND received_at < %(end)s GROUP BY device_id
  UNION ALL
  SELECT device_id, 0, count(*) FILTER (WHERE status <> 429), count(*) FILTER (WHERE status = 429), 0, 0
  FROM telemetry_requestreject
  WHERE at >= %(start)s AND at < %(end)s AND device_id IS NOT NULL GROUP BY device_id
  UNION ALL
  SELECT device_id, 0, 0, 0, sum(missing_to - missing_from + 1), 0
  FROM telemetry_batchgap
  WHERE filled_at IS NULL AND before_time >= %(start)s AND coalesce(after_time, before_time) < %(end)s
  GROUP BY device_id
  UNION ALL
  SELECT device_id, 0, 0, 0, 0, sum(dropped_inferences + dropped_windows + dropped_events)
  FROM telemetry_batch
  WHERE (dropped_inferences > 0 OR dropped_windows > 0 OR dropped_events > 0)
    AND received_at >= %(start)s AND received_at < %(end)s
  GROUP BY device_id
)
SELECT device.id, device.serial, sum(rejected)::int8, sum(refused)::int8, sum(throttled)::int8, sum(missing)::int8,
  sum(dropped)::int8, count(*) OVER () AS devices
FROM found
JOIN fleet_device device ON device.id = found.device_id
WHERE {filter}
GROUP BY device.id, device.serial
ORDER BY sum(rejected + refused + throttled + missing + dropped) DESC, device.serial
LIMIT %(limit)s
