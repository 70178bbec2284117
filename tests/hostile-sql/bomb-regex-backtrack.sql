-- Matches a pattern on which a backtracking engine takes exponential time.
-- ends: harmless
-- result: false
SELECT regexp_matches(repeat('a', 100000) || 'b', '^(a+)+$')
