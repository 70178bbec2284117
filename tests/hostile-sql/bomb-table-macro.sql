-- Calls a table macro that reads itself.
-- ends: query Table Function with name m does not exist
CREATE MACRO m() AS TABLE SELECT * FROM m(); FROM m()
