-- The rows with the smallest keys -ln(u) / weight, u being a hash of (device, time, seed) taken as uniform on (0, 1]:
-- a sample without replacement in which a row with weight w is included with probability 1 - exp(-w t), t being the key
-- of the first row that is left out (a bottom-k sample; Cohen and Kaplan 2007). The same seed draws the same rows.
SELECT device_id, context_id, time, sample_ref, predicted_class, confidence, weight,
  -ln(((hashint8extended((extract(epoch FROM time) * 1000000)::int8 # (device_id::int8 << 40), %(seed)s)
    & 9007199254740991) + 1) / 9007199254740992.0::float8) / weight AS key
FROM (
  SELECT raw.*, CASE WHEN %(uncertain)s THEN 1 - raw.confidence::float8 ELSE 1 END AS weight
  FROM telemetry_batch batch
  JOIN inference raw
    ON raw.device_id = batch.device_id AND raw.batch_id = batch.id
    AND raw.time >= batch.min_time AND raw.time <= batch.max_time
  WHERE batch.id = ANY(%(batch_ids)s::int8[]) AND batch.context_id = ANY(%(context_ids)s::int8[])
    AND raw.time >= %(start)s AND raw.time < %(end)s
    AND (NOT %(uncertain)s OR raw.confidence IS NOT NULL)
) AS candidate
WHERE weight > 0
ORDER BY key, device_id, time
LIMIT %(limit)s
