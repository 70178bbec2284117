-- Reads a CSV in an encoding that an extension would bring.
-- ends: denied installs and loads no extensions
-- input: leaves.csv tree\nash
FROM read_csv('leaves', encoding = 'shift_jis')
