-- Uses a type that an extension would bring.
-- ends: denied installs and loads no extensions
SELECT '10.0.0.0/8'::INET
