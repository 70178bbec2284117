-- Prepares a change of settings.
-- ends: query not a preparable statement
PREPARE p AS SET memory_limit = '1TB'; EXECUTE p
