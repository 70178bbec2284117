-- Makes a string of ten gigabytes.
-- ends: query maximum supported string size
SELECT length(repeat('x', 10000000000))
