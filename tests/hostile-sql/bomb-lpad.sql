-- Pads a string to two gigabytes.
-- ends: deadline
-- deadline: 700ms
SELECT length(lpad('x', 2000000000, 'y'))
