-- Asks for the key-value metadata of a file.
-- ends: denied not an input of this job
FROM parquet_kv_metadata('/tmp/x.parquet')
