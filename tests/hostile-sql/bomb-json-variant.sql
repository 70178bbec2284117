-- Casts JSON too deep for the stack to VARIANT.
-- ends: stack the engine's stack of 8388608 bytes
SELECT (repeat('[', 100000) || repeat(']', 100000))::JSON::VARIANT IS NULL
