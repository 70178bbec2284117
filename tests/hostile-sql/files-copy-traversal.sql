-- Climbs out of the folder by way of a suffix.
-- ends: denied nothing to write to
COPY (SELECT 1) TO 'x' (FORMAT csv, PER_THREAD_OUTPUT, FILE_EXTENSION '/../../tmp/x')
