-- Asks for what other jobs read.
-- ends: harmless
-- rows: 0
FROM duckdb_external_file_cache()
