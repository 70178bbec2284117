-- Uses the function that the job before has shadowed.
-- ends: harmless
-- result: 3,3
-- after: state-shadow
SELECT sum(i), count(i) FROM range(3) t(i)
