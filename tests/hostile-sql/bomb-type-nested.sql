-- Nests a list type ten thousand deep.
-- ends: query expression depth limit
-- repeat: 10000
SELECT NULL::INTEGER{{[]}}
