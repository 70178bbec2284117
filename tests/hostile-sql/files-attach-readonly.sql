-- Opens a database file for reading.
-- ends: denied not an input of this job
ATTACH '/var/lib/x.db' AS x (READ_ONLY)
