-- Concatenates more than memory holds.
-- ends: memory Out of Memory
-- memory: 128MiB
SELECT length(string_agg(repeat('x', 1000), ',')) FROM range(100000000)
