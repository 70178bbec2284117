-- Has a hundred thousand signs.
-- ends: query expression depth limit
-- repeat: 100000
SELECT {{- }}1
