-- Reads an encrypted file with a key, to learn whether the file is there.
-- ends: denied not an input of this job
PRAGMA add_parquet_key('k', '0123456789112345'); FROM read_parquet('/tmp/x.parquet', encryption_config = {footer_key: 'k'})
