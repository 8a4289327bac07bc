-- What the ledger took since a moment: batches, inferences, bytes, devices, and when the newest came.
SELECT
    count(*), coalesce(sum(inferences + window_inferences), 0)::bigint, coalesce(sum(bytes), 0)::bigint,
    count(DISTINCT device_id), max(received_at)
FROM telemetry_batch
WHERE received_at >= %(since)s
