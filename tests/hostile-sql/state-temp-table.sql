-- Makes a temporary table.
-- ends: harmless
-- result: 7
CREATE TEMP TABLE t AS SELECT 7 AS i; FROM t
