-- Marks of partial rows that the cohort tiers do not contain yet, oldest batch first and always all of a batch (so that
-- what a batch wrote once for several marks is added once), until there are `limit` of them. Deleting and returning them
-- in one statement means that a mark committed later stays for the next pass, and a crash gives all of them back.
DELETE FROM dirty_bucket
WHERE batch_id IN (
  SELECT batch_id FROM (
    SELECT batch_id, sum(count(*)) OVER (ORDER BY batch_id) - count(*) AS before FROM dirty_bucket GROUP BY batch_id
  ) AS counted
  WHERE before < %(limit)s
)
RETURNING batch_id, device_id, context_id, bucket
