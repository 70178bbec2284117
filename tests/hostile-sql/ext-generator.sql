-- Generates TPC-DS, which an extension would bring.
-- ends: denied installs and loads no extensions
CALL dsdgen(sf = 1)
