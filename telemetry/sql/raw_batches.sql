-- The span of ledger ids received in a time: ids rise with the time of receipt, so drawing ids at random draws batches.
SELECT min(id), max(id) FROM telemetry_batch WHERE received_at >= %(start)s AND received_at < %(end)s
