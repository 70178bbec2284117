-- Asks for every file that there is, and must get the inputs only.
-- ends: harmless
-- result: leaves/leaves.csv
-- input: leaves.csv tree\nash
FROM glob('*')
