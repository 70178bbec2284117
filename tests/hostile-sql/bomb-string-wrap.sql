-- Makes a string whose bytes are rounded up beyond 32 bits.
-- ends: memory Out of Memory
SELECT length(repeat('a', 4294967295))
