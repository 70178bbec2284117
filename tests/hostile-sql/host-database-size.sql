-- Asks for the size of the database and of memory.
-- ends: harmless
-- result: memory,0 bytes,0,0,0,0,0 bytes,0 bytes,204.7 MiB
PRAGMA database_size
