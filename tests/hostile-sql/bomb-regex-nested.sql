-- Nests groups of a pattern too deep for the stack.
-- ends: harmless
-- result: true
SELECT regexp_matches('a', repeat('(', 100000) || 'a' || repeat(')', 100000))
