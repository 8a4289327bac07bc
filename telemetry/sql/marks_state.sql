-- How many marks wait to be folded (counted up to a limit), and since when the oldest of those waits.
SELECT count(*), min(marked_at) FROM (SELECT marked_at FROM dirty_bucket LIMIT %(limit)s) AS waiting
