-- Allows a folder.
-- ends: denied configuration has been locked
SET allowed_directories = ['/etc']
