-- Nests CASE three thousand deep.
-- ends: query expression depth limit
-- repeat: 3000
SELECT {{CASE WHEN true THEN }}1{{ END}}
