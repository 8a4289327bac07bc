-- What a device reported of itself between inferences, by step.
SELECT time_bucket(%(step)s, time) AS bucket, avg(temperature_c), max(temperature_c), avg(power_w), avg(memory_mb),
  min(battery_pct)
FROM device_state
WHERE device_id = %(device_id)s AND time >= %(start)s AND time < %(end)s
GROUP BY bucket
ORDER BY bucket
