-- Turns autoloading on.
-- ends: denied configuration has been locked
SET autoload_known_extensions = true
