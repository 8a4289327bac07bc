-- Of each hypertable: bytes with indexes (from the statistics, so that it is cheap), chunks, and where the oldest begins
-- and ends.
SELECT
    hypertable.hypertable_name::text,
    hypertable_approximate_size(format('%%I.%%I', hypertable.hypertable_schema, hypertable.hypertable_name)::regclass),
    hypertable.num_chunks,
    oldest.range_start,
    oldest.range_end
FROM timescaledb_information.hypertables AS hypertable
LEFT JOIN LATERAL (
    SELECT min(chunk.range_start) AS range_start, min(chunk.range_end) AS range_end
    FROM timescaledb_information.chunks AS chunk
    WHERE chunk.hypertable_schema = hypertable.hypertable_schema
        AND chunk.hypertable_name = hypertable.hypertable_name
) AS oldest ON true
WHERE hypertable.hypertable_schema = current_schema()
ORDER BY 2 DESC NULLS LAST
