-- Asks for a setting that an extension would bring.
-- ends: denied installs and loads no extensions
SELECT current_setting('s3_secret_access_key')
