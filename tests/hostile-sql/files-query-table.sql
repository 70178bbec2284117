-- Hides the path in a table's name.
-- ends: query Table with name /etc/passwd does not exist
FROM query_table('/etc/passwd')
