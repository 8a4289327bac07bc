-- Adds what batches recorded per condition to the hours of cohorts. Only the holder of the tiers' lock writes here, so
-- the update of a row never waits. Input quality is summed over; attribution reads it from the devices' own rows.
INSERT INTO cohort_cell ({names})
SELECT cell.bucket, cell.context_id, device.hardware_target_id, device.region_id, cell.throttled, cell.temperature_band,
  cell.fallback, sum(cell.count), sum(cell.latency_sum), sum(cell.energy_n), sum(cell.energy_sum),
  sum(cell.confidence_n), sum(cell.confidence_sum)
FROM unnest(%(batch_ids)s::int8[], %(device_ids)s::int4[], %(first)s::timestamptz[], %(last)s::timestamptz[])
  AS batch (id, device_id, first, last)
JOIN device_cell cell
  ON cell.device_id = batch.device_id AND cell.batch_id = batch.id
  AND cell.bucket >= batch.first AND cell.bucket <= batch.last
JOIN fleet_device device ON device.id = batch.device_id
WHERE cell.bucket >= %(begin)s AND cell.bucket <= %(end)s
GROUP BY 1, 2, 3, 4, 5, 6, 7
ON CONFLICT (bucket, context_id, hardware_target_id, region_id, throttled, temperature_band, fallback) DO UPDATE SET
  count = cohort_cell.count + EXCLUDED.count,
  latency_sum = cohort_cell.latency_sum + EXCLUDED.latency_sum,
  energy_n = cohort_cell.energy_n + EXCLUDED.energy_n,
  energy_sum = cohort_cell.energy_sum + EXCLUDED.energy_sum,
  confidence_n = cohort_cell.confidence_n + EXCLUDED.confidence_n,
  confidence_sum = cohort_cell.confidence_sum + EXCLUDED.confidence_sum
