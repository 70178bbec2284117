-- Takes more threads, as a pragma.
-- ends: denied configuration has been locked
PRAGMA threads = 8
