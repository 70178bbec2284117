-- Reads the memory map of the process, which would undo address randomisation.
-- ends: denied not an input of this job
FROM read_csv('/proc/self/maps', delim = '|', columns = {'l': 'VARCHAR'}, auto_detect = false)
