-- Loads an input as a shared object.
-- ends: denied installs and loads no extensions
-- input: leaves.csv tree\nash
LOAD 'leaves/leaves.csv'
