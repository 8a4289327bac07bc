-- The chunks of a hypertable that lie wholly before a time and are not compressed, the oldest first.
SELECT format('%%I.%%I', chunk_schema, chunk_name)
FROM timescaledb_information.chunks
WHERE format('%%I.%%I', hypertable_schema, hypertable_name)::regclass = %(table)s::regclass
  AND NOT is_compressed AND range_end <= %(before)s::timestamptz
ORDER BY range_start
