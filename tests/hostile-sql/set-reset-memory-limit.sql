-- Takes the default memory.
-- ends: denied configuration has been locked
RESET memory_limit
