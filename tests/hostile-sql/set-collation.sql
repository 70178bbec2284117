-- Changes how strings compare.
-- ends: denied configuration has been locked
SET default_collation = 'NOCASE'
