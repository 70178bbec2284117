-- Nests comments.
-- ends: query without selection list
-- repeat: 100000
SELECT {{/* }}1{{ */}}
