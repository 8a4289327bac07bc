-- How long the rest of the transaction waits for a lock.
SELECT set_config('lock_timeout', %(milliseconds)s || 'ms', true)
