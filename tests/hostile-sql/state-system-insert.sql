-- Writes into the catalog.
-- ends: query tables is not an table
INSERT INTO information_schema.tables VALUES (1)
