-- Reads a table of a database file.
-- ends: denied not an input of this job
FROM read_duckdb('/var/lib/x.db', table_name = 't')
