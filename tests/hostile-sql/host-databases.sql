-- Asks for the files of all databases.
-- ends: harmless
-- result: 0
SELECT count(path) FROM duckdb_databases()
