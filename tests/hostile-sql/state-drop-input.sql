-- Drops the view of an input and puts another in its place.
-- ends: harmless
-- result: oak
-- input: leaves.csv tree\nash
DROP VIEW leaves; CREATE TABLE leaves AS SELECT 'oak' AS tree; FROM leaves
