-- Rows of a device tier that are about to be written anew.
DELETE FROM {tier} tier
USING unnest(%(device_ids)s::int4[], %(buckets)s::timestamptz[]) AS due (device_id, bucket)
WHERE tier.device_id = due.device_id AND tier.bucket = due.bucket
  AND tier.bucket >= %(first)s AND tier.bucket <= %(last)s
