-- Has a NUL character within a name.
-- ends: harmless
-- result: 1
SELECT 1 AS "a\u{0}b"
