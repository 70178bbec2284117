-- Reads a view that reads itself.
-- ends: query infinite recursion detected
CREATE VIEW v AS SELECT 1 AS i; CREATE OR REPLACE VIEW v AS SELECT * FROM v; FROM v
