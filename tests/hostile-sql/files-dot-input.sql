-- Says an input's name with a folder before it, which a real file system would take.
-- ends: denied not an input of this job
-- input: leaves.csv tree\nash
FROM read_csv('./leaves/leaves.csv')
