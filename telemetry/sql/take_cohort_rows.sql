-- The rows of a cohort tier with the given keys, deleted so that the merged ones can be written in their place.
DELETE FROM {tier} tier
USING unnest(%(buckets)s::timestamptz[], %(context_ids)s::int4[], %(hardware_target_ids)s::int4[], %(region_ids)s::int4[])
  AS taken (bucket, context_id, hardware_target_id, region_id)
WHERE tier.bucket = taken.bucket AND tier.context_id = taken.context_id
  AND tier.hardware_target_id = taken.hardware_target_id AND tier.region_id = taken.region_id
  AND tier.bucket >= %(first)s AND tier.bucket <= %(last)s
RETURNING {columns}
