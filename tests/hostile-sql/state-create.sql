-- Leaves a table behind.
-- ends: harmless
-- result: 666
CREATE TABLE left_behind AS SELECT 666 AS i; FROM left_behind
