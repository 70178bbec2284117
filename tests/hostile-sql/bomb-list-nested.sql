-- Nests lists a hundred thousand deep.
-- ends: memory Out of Memory
-- repeat: 100000
SELECT {{[}}1{{]}}
