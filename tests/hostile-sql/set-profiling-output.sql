-- Writes a profile into a file.
-- ends: denied configuration has been locked
SET profiling_output = '/tmp/x'
