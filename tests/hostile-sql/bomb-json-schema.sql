-- Reads JSON by a schema too deep for the stack.
-- ends: stack the engine's stack of 8388608 bytes
SELECT from_json('[1]', repeat('[', 50000) || '"INTEGER"' || repeat(']', 50000))
