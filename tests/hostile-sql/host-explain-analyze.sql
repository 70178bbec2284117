-- Has the plan measured, whose times two workers must agree on.
-- ends: harmless
-- rows: 1
EXPLAIN ANALYZE SELECT count(*) FROM range(1000000)
