-- Moves the home folder.
-- ends: denied configuration has been locked
SET home_directory = '/root'
