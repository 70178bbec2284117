-- Names a file where a table belongs.
-- ends: denied not an input of this job
FROM '/etc/passwd.parquet'
