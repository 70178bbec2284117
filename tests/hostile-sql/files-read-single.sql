-- Reads a file through a function that is meant for DuckDB itself.
-- ends: denied not an input of this job
FROM read_single_csv_file('/etc/passwd')
