-- Looks for the table of the job before.
-- ends: query left_behind
-- after: state-create
FROM left_behind
