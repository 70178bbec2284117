-- Reads JSON by a schema too deep for the stack.
-- ends: memory Out of Memory
SELECT from_json('[1]', repeat('[', 50000) || '"INTEGER"' || repeat(']', 50000))
