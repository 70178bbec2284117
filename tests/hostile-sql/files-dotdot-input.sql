-- Climbs out of an input's name as if it were a folder.
-- ends: denied not an input of this job
-- input: leaves.csv tree\nash
FROM read_text('leaves/leaves.csv/../../../etc/passwd')
