-- Opens a granted CSV as a database, which DuckDB 2 takes for one with a table.
-- ends: harmless
-- input: leaves.csv tree\nash
-- result: ash
ATTACH 'leaves/leaves.csv' AS x; FROM x.file
