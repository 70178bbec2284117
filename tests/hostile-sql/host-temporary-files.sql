-- Asks for the temporary files.
-- ends: harmless
-- rows: 0
FROM duckdb_temporary_files()
