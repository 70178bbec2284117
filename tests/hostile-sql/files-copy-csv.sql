-- Writes CSV.
-- ends: denied nothing to write to
COPY (SELECT 1) TO '/tmp/x.csv'
