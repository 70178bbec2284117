-- Fills a table in memory.
-- ends: memory Out of Memory
-- memory: 128MiB
CREATE TABLE t AS SELECT hash(i) AS a, hash(i + 1) AS b FROM range(1000000000) r(i)
