-- Turns logging on, to a file.
-- ends: denied configuration has been locked
CALL enable_logging('QueryLog', storage = 'file', storage_path = '/tmp')
