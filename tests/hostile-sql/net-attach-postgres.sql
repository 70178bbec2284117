-- Attaches a Postgres server.
-- ends: denied Loading external extensions is not supported
ATTACH 'host=127.0.0.1 user=postgres' AS x (TYPE postgres)
