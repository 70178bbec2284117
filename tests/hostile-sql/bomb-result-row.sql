-- Makes one row larger than the result may be.
-- ends: result-limit the result is larger than
-- max-result: 1MiB
SELECT repeat('x', 20000000) AS x
