-- Has the CSV reader keep tables of rejects for a file that is not granted.
-- ends: denied not an input of this job
FROM read_csv('/etc/passwd', store_rejects = true, rejects_table = 'r', rejects_scan = 's', sep = ':')
