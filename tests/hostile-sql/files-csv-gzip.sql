-- Reads a compressed file.
-- ends: denied not an input of this job
FROM read_csv('/var/log/syslog.1.gz', compression = 'gzip')
