-- What a selection recorded over hours that begin in [start, end), by condition: of cohorts, or of named devices.
SELECT {keys}, sum(count)::int8, sum(latency_sum), sum(energy_n)::int8, sum(energy_sum), sum(confidence_n)::int8,
  sum(confidence_sum)
FROM {source}
WHERE bucket >= %(start)s AND bucket < %(end)s AND {filter}
GROUP BY {keys}
ORDER BY {keys}
