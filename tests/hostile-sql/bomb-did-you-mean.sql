-- Misspells a name of two hundred thousand letters, for all others to be compared with it.
-- ends: deadline
-- deadline: 700ms
SELECT current_setting(repeat('ab', 100000))
