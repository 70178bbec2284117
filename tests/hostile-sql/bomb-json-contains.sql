-- Compares JSON of objects as deep as few stacks hold.
-- ends: harmless
-- result: true
SELECT json_contains(j, j) FROM (SELECT repeat('{"a":', 100000) || '1' || repeat('}', 100000) AS j)
