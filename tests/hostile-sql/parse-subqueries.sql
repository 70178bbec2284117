-- Nests subqueries three thousand deep.
-- ends: query expression depth limit
-- repeat: 3000
SELECT {{(SELECT }}1{{)}}
