-- Reads the environment of the process.
-- ends: denied not an input of this job
FROM read_blob('/proc/self/environ')
