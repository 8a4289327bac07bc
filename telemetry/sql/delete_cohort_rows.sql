-- Rows of a cohort tier that are about to be written anew.
DELETE FROM {tier} WHERE bucket >= %(start)s AND bucket < %(end)s
