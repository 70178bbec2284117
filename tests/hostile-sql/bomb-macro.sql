-- Doubles an expression with each macro on the one before.
-- ends: deadline
-- repeat: 40
-- deadline: 700ms
CREATE MACRO m0(x) AS x + 1; {{CREATE MACRO m{n}(x) AS m{n-1}(x) + m{n-1}(x); }}SELECT m40(1)
