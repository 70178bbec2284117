-- Calls a function that an extension would bring.
-- ends: denied installs and loads no extensions
SELECT st_point(1, 2)
