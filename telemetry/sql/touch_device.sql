-- A batch without a context still shows that the device is alive.
UPDATE telemetry_devicelatest SET last_seen_at = GREATEST(last_seen_at, %(received_at)s)
WHERE device_id = %(device)s
