-- Does not end a string.
-- ends: query unterminated string literal
SELECT 'x
