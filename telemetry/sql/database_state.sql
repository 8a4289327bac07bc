-- Version, size, connections and the oldest statement of the database, in one round trip.
SELECT
    current_setting('server_version'),
    (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
    current_setting('timescaledb.license', true),
    pg_database_size(current_database()),
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
    current_setting('max_connections')::int,
    (
        SELECT max(clock_timestamp() - query_start) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'
            AND state <> 'idle' AND pid <> pg_backend_pid()
    ),
    clock_timestamp()
