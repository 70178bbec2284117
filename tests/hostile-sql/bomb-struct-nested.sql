-- Nests structs five thousand deep.
-- ends: query expression depth limit
-- repeat: 5000
SELECT {{{'a': }}1{{}}}
