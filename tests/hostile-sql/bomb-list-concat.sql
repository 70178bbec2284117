-- Joins two long lists.
-- ends: memory Out of Memory
SELECT len(list_concat(range(300000000), range(300000000)))
