-- Calls an operator by name with types that do not match, which DuckDB only finds out when it runs.
-- ends: internal Expected vector of type
SELECT "<"(2147483647, 'x')
