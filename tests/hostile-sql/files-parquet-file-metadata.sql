-- Asks for the footer of a file.
-- ends: denied not an input of this job
FROM parquet_file_metadata('/tmp/x.parquet')
