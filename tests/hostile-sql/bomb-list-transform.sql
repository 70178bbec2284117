-- Transforms a list of a billion.
-- ends: memory Out of Memory
SELECT len(list_transform(range(1000000000), lambda x: 1))
