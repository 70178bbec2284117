-- Writes to a file without a name.
-- ends: denied nothing to write to
COPY (SELECT 1) TO ''
