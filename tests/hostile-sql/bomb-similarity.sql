-- Compares long strings in quadratic time.
-- ends: deadline
-- deadline: 700ms
SELECT levenshtein(repeat('ab', 1000000), repeat('ba', 1000000))
