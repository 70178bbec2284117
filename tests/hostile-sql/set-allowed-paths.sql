-- Allows a file.
-- ends: denied configuration has been locked
SET allowed_paths = ['/etc/passwd']
