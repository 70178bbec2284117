-- Has a window over a billion rows.
-- ends: memory Out of Memory
-- memory: 128MiB
SELECT max(s) FROM (SELECT sum(i) OVER (ORDER BY hash(i)) AS s FROM range(1000000000) t(i))
