-- Writes a format that an extension would bring.
-- ends: query Copy Function with name xlsx does not exist
COPY (SELECT 1) TO '/tmp/x.xlsx' (FORMAT xlsx)
