-- Writes JSON.
-- ends: denied nothing to write to
COPY (SELECT 1 AS a) TO '/tmp/x.json' (FORMAT json, ARRAY true)
