-- Globs with a character class that matches any name.
-- ends: denied not an input of this job
FROM read_csv('/etc/[a-z]*')
