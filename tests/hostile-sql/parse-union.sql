-- Unites five hundred selects.
-- ends: harmless
-- repeat: 500
-- rows: 501
SELECT 1{{ UNION ALL SELECT {n}}}
