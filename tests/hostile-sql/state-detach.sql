-- Detaches the database that it is in.
-- ends: harmless
-- result: 1
ATTACH ':memory:' AS m; USE m; DETACH memory; SELECT 1
