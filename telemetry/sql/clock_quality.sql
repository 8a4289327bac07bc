-- How good the clock of a device was, by step of receipt: share of batches with a synchronised clock, the error it
-- admits, by how much it was off, and how late the newest record of a batch was when it came.
SELECT time_bucket(%(step)s, received_at) AS bucket, count(*), avg(clock_synced::int)::float8, max(clock_error_ms),
  max(abs(clock_offset_us)) / 1000.0::float8, max(extract(epoch FROM received_at - max_time))::float8
FROM telemetry_batch
WHERE device_id = %(device_id)s AND received_at >= %(start)s AND received_at < %(end)s
GROUP BY bucket
ORDER BY bucket
