-- Casts deep JSON.
-- ends: harmless
-- result: 1
SELECT len((repeat('[', 50000) || repeat(']', 50000))::JSON::VARCHAR[][])
