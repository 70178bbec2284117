-- Turns profiling to a file on, by pragma.
-- ends: denied configuration has been locked
PRAGMA profiling_output = '/tmp/x'
