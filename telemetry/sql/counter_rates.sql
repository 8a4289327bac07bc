-- How fast the counters of a device rose, by step; the first reading of a counter is no rise by itself.
SELECT name, time_bucket(%(step)s, time) AS bucket, sum(delta), sum(seconds)
FROM counter_rate
WHERE device_id = %(device_id)s AND time >= %(start)s AND time < %(end)s AND (seconds > 0 OR delta > 0)
GROUP BY name, bucket
ORDER BY name, bucket
