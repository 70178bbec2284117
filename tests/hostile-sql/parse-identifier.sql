-- Has an identifier of a megabyte.
-- ends: harmless
-- repeat: 1000000
-- result: 1
SELECT 1 AS "{{x}}"
