-- Updates extensions.
-- ends: denied installs and loads no extensions
UPDATE EXTENSIONS
