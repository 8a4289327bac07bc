-- The hours of cohorts by condition, summed anew from the rows of all batches that have no mark.
INSERT INTO cohort_cell ({names})
SELECT cell.bucket, cell.context_id, device.hardware_target_id, device.region_id, cell.throttled, cell.temperature_band,
  cell.fallback, sum(cell.count), sum(cell.latency_sum), sum(cell.energy_n), sum(cell.energy_sum),
  sum(cell.confidence_n), sum(cell.confidence_sum)
FROM device_cell cell
JOIN fleet_device device ON device.id = cell.device_id
WHERE cell.bucket >= %(start)s AND cell.bucket < %(end)s
  AND NOT EXISTS (SELECT FROM dirty_bucket mark WHERE mark.batch_id = cell.batch_id)
GROUP BY 1, 2, 3, 4, 5, 6, 7
