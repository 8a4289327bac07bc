-- What came late and what was not taken, by release and hardware target; the condition is that of a small index.
SELECT context.workload_id, context.release_id, workload.slug, release.version, target.slug,
  count(*) FILTER (WHERE late), count(DISTINCT device_id) FILTER (WHERE late),
  coalesce(sum(recorded) FILTER (WHERE late), 0)::int8, max(age) FILTER (WHERE late), sum(rejected)::int8
FROM (
  SELECT batch.device_id, batch.context_id, device.hardware_target_id, batch.rejected,
    batch.received_at - batch.max_time AS age, batch.received_at - batch.max_time > {late} AS late,
    CASE WHEN batch.sampled THEN 0 ELSE batch.inferences END + batch.window_inferences AS recorded
  FROM telemetry_batch batch
  JOIN fleet_device device ON device.id = batch.device_id
  WHERE (batch.received_at - batch.max_time > {late} OR batch.rejected > 0)
    AND batch.received_at >= %(start)s AND batch.received_at < %(end)s AND {filter}
) AS found
JOIN fleet_hardwaretarget target ON target.id = found.hardware_target_id
LEFT JOIN telemetry_context context ON context.id = found.context_id
LEFT JOIN fleet_workload workload ON workload.id = context.workload_id
LEFT JOIN fleet_release release ON release.id = context.release_id
GROUP BY context.workload_id, context.release_id, workload.slug, release.version, target.slug
ORDER BY 8 DESC, 3, 4, 5
