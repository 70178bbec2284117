-- Turns profiling on, whose numbers no two machines share.
-- ends: denied configuration has been locked
PRAGMA enable_profiling = 'json'
