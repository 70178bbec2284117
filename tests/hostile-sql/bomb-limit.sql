-- Asks for more rows than 32 bits count, in order.
-- ends: harmless
-- result: 2
-- result: 1
-- result: 0
SELECT i FROM range(3) t(i) ORDER BY i DESC LIMIT 4294967297
