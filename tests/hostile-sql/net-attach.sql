-- Attaches a database over HTTP.
-- ends: denied no network
ATTACH 'https://example.com/x.db' AS x (READ_ONLY)
