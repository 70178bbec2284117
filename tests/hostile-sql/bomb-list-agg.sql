-- Aggregates a trillion numbers into a list.
-- ends: memory Out of Memory
-- memory: 128MiB
SELECT len(list(i)) FROM range(1000000000000) t(i)
