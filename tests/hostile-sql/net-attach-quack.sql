-- Attaches another DuckDB over the network.
-- ends: denied Loading external extensions is not supported
ATTACH 'quack:127.0.0.1' AS x
