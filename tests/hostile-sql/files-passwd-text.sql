-- Reads the machine's password file as text.
-- ends: denied not an input of this job
FROM read_text('/etc/passwd')
