-- Asks for a vacuum.
-- ends: harmless
-- result: 7
VACUUM; ANALYZE; SELECT 7
