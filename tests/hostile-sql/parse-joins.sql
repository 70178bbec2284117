-- Joins two thousand tables.
-- ends: query expression depth limit
-- repeat: 2000
SELECT count(*) FROM range(1) t0{{, range(1) t{n}}}
