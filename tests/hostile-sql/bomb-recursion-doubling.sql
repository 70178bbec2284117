-- Doubles its rows at each step.
-- ends: memory Out of Memory
-- memory: 128MiB
WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t, range(2)) SELECT max(i) FROM t
