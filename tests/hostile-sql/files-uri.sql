-- Names a file as a URI.
-- ends: denied not an input of this job
FROM read_text('file:///etc/passwd')
