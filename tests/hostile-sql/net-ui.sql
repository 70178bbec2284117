-- Starts a web server.
-- ends: denied installs and loads no extensions
CALL start_ui()
