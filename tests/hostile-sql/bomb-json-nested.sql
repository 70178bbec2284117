-- Parses JSON of arrays a hundred thousand deep.
-- ends: harmless
-- result: 200000
SELECT length(json_extract(repeat('[', 100000) || repeat(']', 100000), '$'))
