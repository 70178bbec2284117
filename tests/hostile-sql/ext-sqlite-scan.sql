-- Reads a SQLite file through a function.
-- ends: denied installs and loads no extensions
FROM sqlite_scan('/tmp/x.db', 't')
