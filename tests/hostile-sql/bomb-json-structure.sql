-- Infers the structure of JSON of objects a hundred thousand deep.
-- ends: query maximum recursion depth
SELECT json_structure(repeat('{"a":', 100000) || '1' || repeat('}', 100000))
