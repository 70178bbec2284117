-- Reads over HTTP from the machine itself.
-- ends: denied no network
FROM 'http://127.0.0.1/x.parquet'
