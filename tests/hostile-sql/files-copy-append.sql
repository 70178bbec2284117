-- Appends to an input.
-- ends: denied nothing to write to
-- input: leaves.csv tree\nash
COPY (SELECT 'oak' AS tree) TO 'leaves/leaves.csv' (FORMAT csv, APPEND true)
