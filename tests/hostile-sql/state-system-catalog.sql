-- Drops a table of the catalog.
-- ends: query Cannot drop internal catalog entry
DROP VIEW duckdb_tables; SELECT 1
