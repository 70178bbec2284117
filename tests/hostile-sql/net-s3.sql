-- Reads from S3.
-- ends: denied no network
FROM read_parquet('s3://bucket/x.parquet')
