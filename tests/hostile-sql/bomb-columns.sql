-- Selects ten thousand columns.
-- ends: harmless
-- repeat: 10000
-- result: 1
SELECT count(*) FROM (SELECT {{{n} AS c{n}, }}0 AS c)
