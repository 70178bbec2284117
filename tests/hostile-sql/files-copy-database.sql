-- Copies the database into a file's.
-- ends: denied nothing to write to
ATTACH '/tmp/x.db' AS x; COPY FROM DATABASE memory TO x
