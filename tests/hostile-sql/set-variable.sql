-- Sets a variable of its own.
-- ends: harmless
-- result: 7
SET VARIABLE x = 7; SELECT getvariable('x')
