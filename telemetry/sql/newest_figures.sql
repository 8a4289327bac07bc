-- What each device sent last (of one workload or release, where named): keys and figures as numbers, a row per device.
SELECT DISTINCT ON (latest.device_id) latest.device_id, latest.workload_id, latest.release_id, device.hardware_target_id,
  date_part('epoch', latest.last_seen_at), workload.expected_interval_s, latest.latency_p95_ms, latest.energy_mj,
  latest.confidence, latest.temperature_c, latest.fallback_rate, latest.error_rate, latest.throttled::int
FROM telemetry_devicelatest latest
JOIN fleet_device device ON device.id = latest.device_id
JOIN fleet_workload workload ON workload.id = latest.workload_id
JOIN fleet_release release ON release.id = latest.release_id
WHERE (%(workload)s::text IS NULL OR workload.slug = %(workload)s)
  AND (%(release)s::text IS NULL OR release.version = %(release)s)
ORDER BY latest.device_id, latest.last_seen_at DESC, latest.id DESC
