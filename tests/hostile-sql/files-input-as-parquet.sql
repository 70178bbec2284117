-- Reads a granted CSV as Parquet, to find the footer parser unguarded.
-- ends: query too small to be a Parquet file
-- input: leaves.csv tree\nash
FROM read_parquet('leaves/leaves.csv')
