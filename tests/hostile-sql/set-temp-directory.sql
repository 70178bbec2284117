-- Spills to disk.
-- ends: denied configuration has been locked
SET temp_directory = '/tmp'
