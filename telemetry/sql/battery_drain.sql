-- How fast devices discharged: percentage points lost and time taken between neighbouring readings that fell. Readings
-- far apart say nothing of what happened between them, and are left out.
SELECT device_id::int8, sum(before - battery_pct)::float8, sum(extract(epoch FROM time - since))::float8, count(*)::int8
FROM (
  SELECT device_id, time, battery_pct, lag(battery_pct) OVER device AS before, lag(time) OVER device AS since
  FROM device_state
  WHERE device_id = ANY(%(device_ids)s::int4[]) AND time >= %(start)s AND time < %(end)s AND battery_pct IS NOT NULL
  WINDOW device AS (PARTITION BY device_id ORDER BY time)
) AS readings
WHERE battery_pct < before AND time - since <= %(longest)s
GROUP BY device_id
ORDER BY device_id
