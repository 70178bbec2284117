-- Loads a shared object.
-- ends: denied installs and loads no extensions
LOAD '/tmp/x.duckdb_extension'
