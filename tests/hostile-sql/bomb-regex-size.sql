-- Compiles a pattern that unfolds to a billion states.
-- ends: query invalid repetition size
SELECT regexp_matches('a', '((a{1000}){1000}){1000}')
