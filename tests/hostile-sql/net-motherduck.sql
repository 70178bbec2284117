-- Attaches a database in somebody's cloud.
-- ends: denied Loading external extensions is not supported
ATTACH 'md:'
