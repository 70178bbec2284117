-- Keeps all rows of an endless recursion, to compare them.
-- ends: memory Out of Memory
-- memory: 128MiB
WITH RECURSIVE t(i) AS (SELECT i FROM range(100000) r(i) UNION SELECT i + 100000 FROM t) SELECT count(*) FROM t
