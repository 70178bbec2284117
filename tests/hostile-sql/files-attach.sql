-- Creates a database file.
-- ends: denied nothing to write to
ATTACH '/tmp/x.db' AS x
