-- Reads the input that the job before has replaced.
-- ends: harmless
-- result: ash
-- after: state-drop-input
-- input: leaves.csv tree\nash
FROM leaves
