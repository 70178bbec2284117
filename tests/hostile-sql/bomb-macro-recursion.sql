-- Calls a macro that calls itself.
-- ends: query Scalar Function with name m does not exist
CREATE MACRO m(x) AS m(x + 1); SELECT m(1)
