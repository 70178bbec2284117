-- Lists the root folder.
-- ends: denied not an input of this job
FROM glob('/*')
