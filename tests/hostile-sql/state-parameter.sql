-- Leaves a parameter open.
-- ends: query Values were not provided
SELECT $1
