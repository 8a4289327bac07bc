-- Rows of a time-series table with public names in the place of ids, in the order of time.
SELECT {columns}
FROM {table} source
{joins}
WHERE source.{time} >= %(start)s AND source.{time} < %(end)s AND {filter}
ORDER BY source.{time}
