-- Asks for the statements of other connections.
-- ends: harmless
-- result: 0,1
SELECT (SELECT count(*) FROM duckdb_prepared_statements()), (SELECT count FROM duckdb_connection_count())
