-- Writes to standard output, which in a cell is memory shared with its parent.
-- ends: denied nothing to write to
COPY (SELECT 42) TO '/dev/stdout'
