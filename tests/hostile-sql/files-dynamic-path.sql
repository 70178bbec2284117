-- Makes the path at run time.
-- ends: denied not an input of this job
SET VARIABLE p = '/etc/' || 'passwd'; FROM read_text(getvariable('p'))
