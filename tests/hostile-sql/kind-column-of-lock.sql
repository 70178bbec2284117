-- Names a column in the words of a setting that is locked.
-- ends: query has been locked
SELECT "the configuration has been locked", "memory allocation failed" FROM range(3)
