-- Column compression of a hypertable (Community edition).
ALTER TABLE {table} SET (
  timescaledb.compress, timescaledb.compress_segmentby = 'device_id', timescaledb.compress_orderby = {order}
)
