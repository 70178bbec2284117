-- Makes a result larger than is allowed.
-- ends: result-limit the result is larger than
-- max-result: 1MiB
SELECT repeat('x', 1000) AS x, i FROM range(100000) t(i)
