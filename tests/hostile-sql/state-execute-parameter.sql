-- Runs with a path as parameter.
-- ends: denied not an input of this job
PREPARE p AS SELECT * FROM read_text($1); EXECUTE p('/etc/passwd')
