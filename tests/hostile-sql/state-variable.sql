-- Leaves a variable behind.
-- ends: harmless
-- result: 1
SET VARIABLE left_behind = 666; SELECT 1
