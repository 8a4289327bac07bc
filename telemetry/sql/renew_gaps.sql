-- Compare the gaps between stored batch numbers with the gaps on record, around the batches received since a time.
-- For each boot heard of: from the last number stored before its new ones to the first one after them, so that every gap
-- that a new batch opened or changed lies inside. Returns how many gaps were opened and closed.
WITH heard AS (
  SELECT device_id, boot_id, min(batch_seq) AS low, max(batch_seq) AS high
  -- the numbers of OTLP batches are hashes and have no gaps
  FROM telemetry_batch WHERE received_at >= %(since)s AND boot_id <> 'otlp' GROUP BY device_id, boot_id
), reach AS (
  SELECT device_id, boot_id,
    COALESCE((SELECT max(batch_seq) FROM telemetry_batch b
              WHERE b.device_id = h.device_id AND b.boot_id = h.boot_id AND b.batch_seq < h.low), low) AS low,
    COALESCE((SELECT min(batch_seq) FROM telemetry_batch b
              WHERE b.device_id = h.device_id AND b.boot_id = h.boot_id AND b.batch_seq > h.high), high) AS high
  FROM heard h
), stored AS (
  SELECT b.device_id, b.boot_id, b.batch_seq, b.min_time,
    lag(b.batch_seq) OVER seqs AS before_seq, lag(b.max_time) OVER seqs AS after_time
  FROM reach r
  JOIN telemetry_batch b
    ON b.device_id = r.device_id AND b.boot_id = r.boot_id AND b.batch_seq BETWEEN r.low AND r.high
  WINDOW seqs AS (PARTITION BY b.device_id, b.boot_id ORDER BY b.batch_seq)
), found AS (
  SELECT device_id, boot_id, before_seq + 1 AS missing_from, batch_seq - 1 AS missing_to,
    after_time, min_time AS before_time
  FROM stored WHERE batch_seq > before_seq + 1
), closed AS (
  UPDATE telemetry_batchgap g SET filled_at = %(now)s
  FROM reach r
  WHERE g.filled_at IS NULL AND g.device_id = r.device_id AND g.boot_id = r.boot_id
    AND g.missing_from > r.low AND g.missing_to < r.high
    AND NOT EXISTS (
      SELECT FROM found f
      WHERE f.device_id = g.device_id AND f.boot_id = g.boot_id
        AND f.missing_from = g.missing_from AND f.missing_to = g.missing_to)
  RETURNING 1
), opened AS (
  INSERT INTO telemetry_batchgap
    (device_id, boot_id, missing_from, missing_to, after_time, before_time, found_at)
  SELECT f.device_id, f.boot_id, f.missing_from, f.missing_to, f.after_time, f.before_time, %(now)s
  FROM found f
  WHERE NOT EXISTS (
    SELECT FROM telemetry_batchgap g
    WHERE g.device_id = f.device_id AND g.boot_id = f.boot_id AND g.filled_at IS NULL
      AND g.missing_from = f.missing_from AND g.missing_to = f.missing_to)
  RETURNING 1
)
SELECT (SELECT count(*) FROM opened), (SELECT count(*) FROM closed)
