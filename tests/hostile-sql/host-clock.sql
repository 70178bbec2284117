-- Measures time, which must not pass.
-- ends: harmless
-- result: 2
SELECT count(DISTINCT get_current_timestamp()) + count(DISTINCT current_time) FROM range(100000)
