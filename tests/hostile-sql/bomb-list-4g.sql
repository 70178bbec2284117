-- Makes a list whose bytes are a multiple of 32 bits' range, so that a size that is cut to 32 bits is 0.
-- ends: memory Out of Memory
SELECT len(range(536870912))
