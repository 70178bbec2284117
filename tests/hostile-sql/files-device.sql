-- Reads without end from a device.
-- ends: denied not an input of this job
FROM read_blob('/dev/zero')
