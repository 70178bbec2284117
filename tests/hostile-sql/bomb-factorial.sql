-- Takes the factorial of a large number.
-- ends: query out of range
SELECT 1000000!
