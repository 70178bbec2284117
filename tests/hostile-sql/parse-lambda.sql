-- Nests lambdas.
-- ends: query expression depth limit
-- repeat: 2000
SELECT {{list_transform([1], lambda x{n}: }}1{{)}}
