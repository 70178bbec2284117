-- Writes Parquet.
-- ends: denied nothing to write to
COPY (SELECT 1) TO 'x.parquet' (FORMAT parquet)
