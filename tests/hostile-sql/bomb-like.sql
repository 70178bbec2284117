-- Matches LIKE with many wildcards.
-- ends: harmless
-- result: false
SELECT repeat('a', 100000) LIKE repeat('%a', 5000) || '%b'
