-- Runs the scripts of an exported database.
-- ends: denied not an input of this job
IMPORT DATABASE '/tmp/x'
