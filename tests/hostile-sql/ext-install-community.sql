-- Installs what anybody may have published.
-- ends: denied installs and loads no extensions
INSTALL shellfs FROM community
