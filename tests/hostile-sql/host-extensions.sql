-- Asks where extensions are installed.
-- ends: harmless
-- result: (BUILT-IN)
SELECT DISTINCT install_path FROM duckdb_extensions() WHERE installed
