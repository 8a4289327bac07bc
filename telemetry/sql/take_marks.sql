-- Marks of partial rows that the cohort tiers do not contain yet, oldest batch first; deleting and returning them in one
-- statement means that a mark committed later stays for the next pass, and a crash gives all of them back.
DELETE FROM dirty_bucket d
USING (
  SELECT batch_id, context_id, bucket FROM dirty_bucket ORDER BY batch_id LIMIT %(limit)s
) AS oldest
WHERE d.batch_id = oldest.batch_id AND d.context_id = oldest.context_id AND d.bucket = oldest.bucket
RETURNING d.batch_id, d.device_id, d.context_id, d.bucket
