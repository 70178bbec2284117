-- Nests geometries too deep for the stack.
-- ends: query maximum recursion depth
SELECT (repeat('GEOMETRYCOLLECTION (', 100000) || 'POINT (1 1)' || repeat(')', 100000))::GEOMETRY
