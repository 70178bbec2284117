-- Reads a spreadsheet.
-- ends: denied installs and loads no extensions
FROM read_xlsx('/tmp/x.xlsx')
