-- Asks for stored secrets.
-- ends: harmless
-- result: 0
SELECT count(*) FROM duckdb_secrets(redact = true)
