-- Empties the log.
-- ends: harmless
-- rows: 0
CALL truncate_duckdb_logs()
