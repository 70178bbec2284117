-- Hides a LOAD after a harmless statement.
-- ends: denied installs and loads no extensions
SELECT 1; LOAD spatial; SELECT 2
