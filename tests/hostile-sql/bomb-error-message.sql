-- Makes an error message for which memory does not suffice.
-- ends: memory memory
SELECT error(repeat('x', 50000000))
