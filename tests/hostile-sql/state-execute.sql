-- Prepares a statement that is refused, and runs it.
-- ends: denied nothing to write to
PREPARE p AS COPY (SELECT 1) TO '/tmp/x'; EXECUTE p
