-- Adds a hundred thousand terms.
-- ends: query expression depth limit
-- repeat: 100000
SELECT 1{{ + 1}}
