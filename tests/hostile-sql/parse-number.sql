-- Has a number of twenty thousand digits.
-- ends: query too large
-- repeat: 20000
SELECT {{9}}::INTEGER
