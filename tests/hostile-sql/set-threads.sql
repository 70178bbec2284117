-- Takes more threads.
-- ends: denied configuration has been locked
SET threads = 64
