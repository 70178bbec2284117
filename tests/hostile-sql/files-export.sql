-- Exports the database.
-- ends: denied nothing to write to
EXPORT DATABASE '/tmp/x' (FORMAT parquet)
