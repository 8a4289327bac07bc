-- One writer of the tiers at a time; released with the transaction, so it is safe behind PgBouncer and after a crash.
SELECT pg_advisory_xact_lock(%(key)s)
