-- Builds a hash table of a billion rows.
-- ends: memory Out of Memory
-- memory: 128MiB
SELECT count(*) FROM range(1000000000) a(i) JOIN range(1000000000) b(i) ON a.i = hash(b.i) % 1000000007
