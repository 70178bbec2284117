-- Walks the whole tree of folders.
-- ends: denied not an input of this job
SELECT count(*) FROM glob('/**')
