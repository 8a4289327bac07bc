-- Compresses one chunk (Community edition).
SELECT compress_chunk(%(chunk)s::regclass)
