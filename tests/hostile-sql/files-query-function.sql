-- Hides the path in the text of a query function.
-- ends: denied not an input of this job
FROM query('FROM read_text(''/etc/passwd'')')
