-- Has a string of a megabyte.
-- ends: harmless
-- repeat: 1000000
-- result: 1000000
SELECT length('{{x}}')
