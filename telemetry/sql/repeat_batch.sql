-- A batch that is in the ledger already: what was stored under its number, and the answer it got. A repetition of the
-- same body is counted; another body under the same number is a conflict and changes nothing.
UPDATE telemetry_batch SET repeats = repeats + (sha256 = %(sha256)s)::int
WHERE device_id = %(device)s AND boot_id = %(boot_id)s AND batch_seq = %(batch_seq)s
RETURNING sha256, reply::text
