-- Has a NUL character within a string.
-- ends: harmless
-- result: 3
SELECT length('a\u{0}b')
