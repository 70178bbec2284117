-- Installs an extension.
-- ends: denied installs and loads no extensions
INSTALL httpfs
