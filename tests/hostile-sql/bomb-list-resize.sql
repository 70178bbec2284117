-- Resizes a list to more than 32 bits of bytes.
-- ends: memory Out of Memory
SELECT len(list_resize([1], 2147483647, 7))
