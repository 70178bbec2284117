-- Makes an error message that is larger than a message from the sandbox may be.
-- ends: query xxxxxxxx
-- memory: 1GiB
SELECT error(repeat('x', 20000000))
