-- Gives a Parquet file that is cut off.
-- ends: input broken
-- input: broken.parquet PAR1 and nothing more PAR1
FROM broken
