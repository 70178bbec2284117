-- Replaces each of many letters by a megabyte.
-- ends: memory Out of Memory
-- memory: 128MiB
SELECT length(replace(repeat('x', 100000), 'x', repeat('y', 1000000)))
