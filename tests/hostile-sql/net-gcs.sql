-- Reads from Google's storage.
-- ends: denied no network
FROM read_parquet('gcs://bucket/x.parquet')
