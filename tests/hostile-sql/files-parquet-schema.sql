-- Asks for the schema of a file.
-- ends: denied not an input of this job
FROM parquet_schema('/tmp/x.parquet')
