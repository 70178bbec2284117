-- Probes the Bloom filters of a file.
-- ends: denied not an input of this job
FROM parquet_bloom_probe('/tmp/x.parquet', 'a', 1)
