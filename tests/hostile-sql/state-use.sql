-- Moves into the system's database.
-- ends: query internal schema
USE system; CREATE TABLE t (i INTEGER)
