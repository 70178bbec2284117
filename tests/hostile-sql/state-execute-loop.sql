-- Prepares an EXECUTE of itself.
-- ends: query not a preparable statement
PREPARE p AS EXECUTE p; EXECUTE p
