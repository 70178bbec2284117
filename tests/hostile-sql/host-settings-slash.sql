-- Looks for anything like an absolute path or a host in all settings.
-- ends: harmless
-- rows: 0
SELECT name, value FROM duckdb_settings() WHERE value LIKE '%/%' AND name <> 'secret_directory' OR value ILIKE '%localhost%'
