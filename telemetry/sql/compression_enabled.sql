-- Whether column compression is set up for a hypertable.
SELECT compression_enabled
FROM timescaledb_information.hypertables
WHERE format('%%I.%%I', hypertable_schema, hypertable_name)::regclass = %(table)s::regclass
