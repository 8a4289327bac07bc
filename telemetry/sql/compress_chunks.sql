-- Compresses the chunks that lie wholly before a time and are not compressed yet (Community edition).
SELECT compress_chunk(chunk, if_not_compressed => true)::text
FROM show_chunks(%(table)s::regclass, older_than => %(before)s::timestamptz) AS chunk
