-- Turns file systems off.
-- ends: denied configuration has been locked
SET disabled_filesystems = 'LocalFileSystem'
