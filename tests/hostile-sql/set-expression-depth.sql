-- Allows deeper recursion than the stack holds.
-- ends: denied configuration has been locked
SET max_expression_depth = 1000000000
