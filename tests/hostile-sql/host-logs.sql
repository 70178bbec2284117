-- Asks for the log.
-- ends: harmless
-- result: 0
SELECT count(*) FROM duckdb_logs
