-- Asks for the folders that extensions come from.
-- ends: harmless
-- result: 0
SELECT count(*) FROM duckdb_extension_repositories() WHERE prefix LIKE '/%' OR prefix LIKE '~%'
