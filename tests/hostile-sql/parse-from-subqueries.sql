-- Nests tables three thousand deep.
-- ends: query expression depth limit
-- repeat: 3000
{{SELECT * FROM (}}SELECT 1{{)}}
