-- Changes what division means.
-- ends: denied configuration has been locked
SET integer_division = true
