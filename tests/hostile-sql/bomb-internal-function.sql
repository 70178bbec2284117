-- Calls a function that is meant for DuckDB's optimizer.
-- ends: query for internal use only
SELECT __internal_decompress_string(255::UTINYINT)
