-- Leaves a function behind under the name of one that exists.
-- ends: harmless
-- result: 1
CREATE MACRO sum(x) AS 666; CREATE MACRO count(x) AS 666; SELECT 1
