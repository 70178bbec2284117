-- Opens a hundred thousand parentheses.
-- ends: memory Out of Memory
-- repeat: 100000
SELECT {{(}}1{{)}}
