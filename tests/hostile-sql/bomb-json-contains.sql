-- Compares JSON of objects too deep for the stack.
-- ends: stack the engine's stack of 8388608 bytes
SELECT json_contains(j, j) FROM (SELECT repeat('{"a":', 100000) || '1' || repeat('}', 100000) AS j)
