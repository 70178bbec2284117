-- Makes a string of three gigabytes, which grows a block to four.
-- ends: memory Out of Memory
SELECT length(repeat('a', 3000000000))
