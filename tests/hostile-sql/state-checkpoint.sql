-- Asks for a checkpoint.
-- ends: harmless
-- result: 7
FORCE CHECKPOINT; SELECT 7
