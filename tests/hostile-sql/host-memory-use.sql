-- Asks what memory is used for, which two workers must agree on.
-- ends: harmless
-- rows: 0
SELECT tag, memory_usage_bytes FROM duckdb_memory() WHERE memory_usage_bytes > 0
