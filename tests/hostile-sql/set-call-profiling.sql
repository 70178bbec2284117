-- Turns profiling on by CALL.
-- ends: denied configuration has been locked
CALL enable_profiling(save_location = '/tmp/x')
