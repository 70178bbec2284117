-- Sends a result away.
-- ends: denied no network
COPY (SELECT 1) TO 's3://bucket/x.parquet'
