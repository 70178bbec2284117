-- Asks for a sample of sixteen gigabytes.
-- ends: memory Out of Memory
SELECT reservoir_quantile(i, 0.5, 2147483647) FROM range(10) t(i)
