-- A batch that is in the ledger already: what was stored under its number, and the answer it got.
SELECT sha256, reply::text FROM telemetry_batch
WHERE device_id = %(device)s AND boot_id = %(boot_id)s AND batch_seq = %(batch_seq)s
