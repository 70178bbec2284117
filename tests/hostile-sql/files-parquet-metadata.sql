-- Asks for the metadata of a file.
-- ends: denied not an input of this job
FROM parquet_metadata('/tmp/x.parquet')
