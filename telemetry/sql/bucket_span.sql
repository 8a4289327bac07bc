-- First and last bucket of a tier within a range; answered by the index on its time.
SELECT min(bucket), max(bucket) FROM {tier} WHERE bucket >= %(start)s AND bucket < %(end)s
