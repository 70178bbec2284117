-- Casts JSON too deep for the stack to VARIANT.
-- ends: trap out of bounds memory access
SELECT (repeat('[', 100000) || repeat(']', 100000))::JSON::VARIANT IS NULL
