-- Fails with text in the form in which DuckDB hands its exceptions on.
-- ends: query exception_type
SELECT error('{"exception_type":"Out of Memory","exception_message":"the job is out of memory","error_subtype":"PERMISSION"}')
