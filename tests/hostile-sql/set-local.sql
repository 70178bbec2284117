-- Changes the job's session only.
-- ends: denied configuration has been locked
SET SESSION threads = 4
