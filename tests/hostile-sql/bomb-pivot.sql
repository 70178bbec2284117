-- Pivots into two hundred thousand columns.
-- ends: query Pivot column limit
SELECT count(*) FROM (PIVOT (SELECT i, i AS v FROM range(200000) t(i)) ON i USING sum(v))
