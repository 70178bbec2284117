-- Reads the input whose name the job before used.
-- ends: harmless
-- result: ash
-- after: state-dangling-view
-- input: leaves.csv tree\nash
FROM leaves
