-- Recurses without end in constant memory.
-- ends: deadline
-- deadline: 700ms
WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT (i + 1) % 7 FROM t) SELECT count(*) FROM t
