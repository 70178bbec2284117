-- Asks for errors to be ignored, and means that of a refused path.
-- ends: denied not an input of this job
FROM read_csv('/etc/shadow', ignore_errors = true, null_padding = true, strict_mode = false)
