-- Makes a path out of each row.
-- ends: query does not support lateral join
SELECT * FROM (VALUES ('/etc/passwd'), ('/etc/group')) v(p), read_text(p)
