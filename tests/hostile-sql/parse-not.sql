-- Negates a hundred thousand times.
-- ends: query expression depth limit
-- repeat: 100000
SELECT {{NOT }}true
