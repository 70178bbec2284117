-- Makes a list whose bytes exceed 32 bits by a little, so that a size that is cut is small.
-- ends: memory Out of Memory
SELECT count(*), sum(i) FROM (SELECT unnest(repeat([1::BIGINT], 536870912 + 1000)) AS i)
