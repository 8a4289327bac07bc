-- Folded rows per condition of devices and those of cohorts, summed side by side in one snapshot.
SELECT 'device_cell', context_id, sum(count)::int8, sum(latency_sum), sum(energy_n)::int8, sum(energy_sum)
FROM device_cell cell
WHERE bucket >= %(start)s AND bucket < %(end)s
  AND EXISTS (SELECT FROM fleet_device WHERE id = cell.device_id)
  AND NOT EXISTS (SELECT FROM dirty_bucket mark WHERE mark.batch_id = cell.batch_id)
GROUP BY context_id
UNION ALL
SELECT 'cohort_cell', context_id, sum(count)::int8, sum(latency_sum), sum(energy_n)::int8, sum(energy_sum)
FROM cohort_cell
WHERE bucket >= %(start)s AND bucket < %(end)s
GROUP BY context_id
