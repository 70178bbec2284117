-- Attaches another database in memory.
-- ends: harmless
-- result: 7
ATTACH ':memory:' AS m; CREATE TABLE m.t AS SELECT 7 AS i; FROM m.t
