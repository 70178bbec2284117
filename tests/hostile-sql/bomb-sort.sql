-- Sorts a billion rows.
-- ends: memory Out of Memory
-- memory: 128MiB
SELECT i FROM range(1000000000) t(i) ORDER BY hash(i) OFFSET 999999999
