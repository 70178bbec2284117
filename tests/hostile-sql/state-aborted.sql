-- Goes on in a transaction that failed.
-- ends: query Invalid Input Error: x
BEGIN; SELECT error('x'); COMMIT
