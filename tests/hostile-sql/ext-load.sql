-- Loads a known extension.
-- ends: denied installs and loads no extensions
LOAD httpfs
