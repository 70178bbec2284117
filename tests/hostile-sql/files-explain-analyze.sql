-- Reads while it explains.
-- ends: denied not an input of this job
EXPLAIN ANALYZE FROM read_text('/etc/passwd')
