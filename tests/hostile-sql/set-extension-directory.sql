-- Has extensions loaded from another folder.
-- ends: denied configuration has been locked
SET extension_directories = ['/tmp']
