-- Asks for a sample whose bytes exceed 32 bits by a little.
-- ends: memory Out of Memory
SELECT reservoir_quantile(i, 0.5, 536870913) FROM range(100000) t(i)
