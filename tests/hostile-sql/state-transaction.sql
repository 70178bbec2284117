-- Leaves a transaction open.
-- ends: harmless
-- result: 7
BEGIN; CREATE TABLE t AS SELECT 7 AS i; FROM t
