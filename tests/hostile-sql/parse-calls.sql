-- Nests calls three thousand deep.
-- ends: query expression depth limit
-- repeat: 3000
SELECT {{abs(}}1{{)}}
