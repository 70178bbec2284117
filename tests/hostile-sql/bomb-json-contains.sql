-- Compares JSON of objects too deep for the stack.
-- ends: trap call stack exhausted
SELECT json_contains(j, j) FROM (SELECT repeat('{"a":', 100000) || '1' || repeat('}', 100000) AS j)
