-- Reads an empty list of files.
-- ends: query at least one file
FROM read_csv([])
