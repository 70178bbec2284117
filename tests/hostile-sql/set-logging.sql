-- Logs queries into a file.
-- ends: denied configuration has been locked
SET log_query_path = '/tmp/x.log'
