-- Fills an index.
-- ends: memory Out of Memory
-- memory: 128MiB
CREATE TABLE t (s VARCHAR PRIMARY KEY); INSERT INTO t SELECT repeat('x', 1000) || i FROM range(1000000) r(i)
