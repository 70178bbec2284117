-- Counts the rows of a cross join of ranges.
-- ends: deadline
-- deadline: 700ms
SELECT count(*) FROM range(1000000000000) a, range(1000000) b
