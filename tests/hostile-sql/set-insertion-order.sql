-- Gives up the order of rows.
-- ends: denied configuration has been locked
SET preserve_insertion_order = false
