-- Hides a LOAD in a prepared statement.
-- ends: query not a preparable statement
PREPARE p AS LOAD spatial; EXECUTE p
