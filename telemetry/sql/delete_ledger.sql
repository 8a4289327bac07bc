-- Ledger rows past the replay horizon, a slice at a time so that no transaction is long. Quarantined records keep no
-- pointer to a batch that is gone.
WITH old AS (
  SELECT id FROM telemetry_batch WHERE received_at < %(before)s ORDER BY received_at LIMIT %(limit)s
), unlinked AS (
  UPDATE telemetry_quarantinedrecord SET batch_id = NULL WHERE batch_id IN (SELECT id FROM old)
)
DELETE FROM telemetry_batch WHERE id IN (SELECT id FROM old)
