-- Ends a granted name with a NUL and goes on, to be cut by C code.
-- ends: denied not an input of this job
-- input: leaves.csv tree\nash
FROM read_csv('leaves/leaves.csv' || chr(0) || '/etc/passwd')
