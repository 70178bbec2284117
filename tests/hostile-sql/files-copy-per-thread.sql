-- Writes one file a thread.
-- ends: denied nothing to write to
COPY (SELECT 1 AS a) TO '/tmp/x' (FORMAT parquet, PER_THREAD_OUTPUT)
