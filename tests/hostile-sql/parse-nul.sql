-- Has a NUL character within the text.
-- ends: harmless
-- result: 2
SELECT 1\u{0}; SELECT 2
