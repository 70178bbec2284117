-- Makes one row larger than a write of the contract.
-- ends: harmless
-- rows: 1
SELECT repeat('x', 20000000) AS x
