-- Keeps a billion different values in a hash table.
-- ends: memory Out of Memory
-- memory: 128MiB
SELECT count(DISTINCT i) FROM range(1000000000) t(i)
