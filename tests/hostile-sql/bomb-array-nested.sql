-- Nests arrays of arrays to a type of a terabyte.
-- ends: memory Out of Memory
SELECT NULL::INTEGER[10000][10000][10000]
