-- Installs a file.
-- ends: denied installs and loads no extensions
INSTALL '/tmp/x.duckdb_extension'
