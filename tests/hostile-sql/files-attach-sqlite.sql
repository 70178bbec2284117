-- Opens a SQLite database.
-- ends: denied Loading external extensions is not supported
ATTACH '/tmp/x.db' AS x (TYPE sqlite)
