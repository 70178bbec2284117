-- Opens a SQLite database.
-- ends: denied installs and loads no extensions
ATTACH '/tmp/x.db' AS x (TYPE sqlite)
