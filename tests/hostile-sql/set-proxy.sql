-- Sets a proxy.
-- ends: denied configuration has been locked
SET http_proxy = 'http://127.0.0.1:3128'
