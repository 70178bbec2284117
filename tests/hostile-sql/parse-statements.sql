-- Has a thousand statements.
-- ends: harmless
-- repeat: 1000
-- result: 7
{{SELECT {n};}} SELECT 7
