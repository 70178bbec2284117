-- Has twenty thousand values in a list.
-- ends: harmless
-- repeat: 20000
-- result: 10
SELECT count(*) FROM range(10) t(i) WHERE i IN ({{{n}, }}0)
