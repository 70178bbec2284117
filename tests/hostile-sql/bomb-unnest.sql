-- Unnests a list of a million in each of a million rows.
-- ends: deadline
-- deadline: 700ms
SELECT count(*) FROM (SELECT unnest(range(1000000)) AS a, range(1000000) AS l), unnest(l) u(b)
