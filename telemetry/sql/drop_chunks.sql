-- Drops the chunks that lie wholly before a time; instant, unlike DELETE, and nothing is left to vacuum.
SELECT drop_chunks(%(table)s::regclass, older_than => %(before)s::timestamptz)::text
