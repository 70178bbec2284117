-- Doubles the plan with each common table on the one before.
-- ends: deadline
-- repeat: 40
-- deadline: 700ms
WITH c0 AS (SELECT 1 AS i){{, c{n} AS NOT MATERIALIZED (SELECT a.i FROM c{n-1} a, c{n-1} b)}} SELECT count(*) FROM c40
