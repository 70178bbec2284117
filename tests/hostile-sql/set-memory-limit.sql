-- Takes all memory of the machine.
-- ends: denied configuration has been locked
SET memory_limit = '100GB'
