-- Calls two macros that call each other.
-- ends: query expression depth limit
CREATE MACRO a(x) AS x; CREATE MACRO b(x) AS a(x); CREATE OR REPLACE MACRO a(x) AS b(x); SELECT a(1)
