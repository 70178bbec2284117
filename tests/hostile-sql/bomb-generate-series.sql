-- Lists all microseconds of ten thousand years.
-- ends: deadline
-- deadline: 700ms
SELECT len(generate_series(DATE '0001-01-01', DATE '9999-12-31', INTERVAL 1 MICROSECOND))
