-- Lists a bucket.
-- ends: denied no network
FROM glob('s3://bucket/**')
