-- Says that threads are managed outside.
-- ends: denied configuration has been locked
SET external_threads = 64
