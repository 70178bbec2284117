-- Moves the secrets.
-- ends: denied configuration has been locked
SET secret_directory = '/tmp'
