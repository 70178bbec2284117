-- Makes four billion rows and one.
-- ends: harmless
-- result: 4294967297
SELECT count(*) FROM repeat(1, 4294967297) LIMIT 1
