-- Changes where NULL sorts.
-- ends: denied configuration has been locked
SET default_null_order = 'NULLS_FIRST'
