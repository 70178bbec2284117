-- Names a file whose suffix an extension would read.
-- ends: denied installs and loads no extensions
FROM '/tmp/x.xlsx'
