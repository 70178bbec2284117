-- Fails with the words of a setting that is locked.
-- ends: query has been locked
SELECT error('Permission Error: Cannot change configuration option "threads" - the configuration has been locked')
