-- Joins forty tables in a clique, for the optimizer to order.
-- ends: harmless
-- repeat: 40
-- result: 3
SELECT count(*) FROM range(3) t0(i){{ JOIN range(3) t{n}(i) ON t{n}.i = t0.i AND t{n}.i = t{n-1}.i}}
