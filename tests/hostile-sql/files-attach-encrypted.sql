-- Creates an encrypted database file.
-- ends: denied installs and loads no extensions
ATTACH '/tmp/x.db' AS x (ENCRYPTION_KEY 'k')
