-- Calls a table function that an extension would bring.
-- ends: denied installs and loads no extensions
FROM st_read('/tmp/x.shp')
