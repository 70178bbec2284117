-- Hides a path among granted ones in a list.
-- ends: denied not an input of this job
-- input: leaves.csv tree\nash
FROM read_csv(['leaves/leaves.csv', '/etc/passwd'])
