-- Attaches another DuckDB over the network.
-- ends: denied installs and loads no extensions
ATTACH 'quack:127.0.0.1' AS x
