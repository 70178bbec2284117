-- Attaches a database in somebody's cloud.
-- ends: denied installs and loads no extensions
ATTACH 'md:'
