-- Attaches a Postgres server.
-- ends: denied installs and loads no extensions
ATTACH 'host=127.0.0.1 user=postgres' AS x (TYPE postgres)
