-- Reads from Azure's storage.
-- ends: denied no network
FROM read_parquet('az://container/x.parquet')
