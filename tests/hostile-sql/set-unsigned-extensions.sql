-- Allows unsigned extensions.
-- ends: denied configuration has been locked
SET allow_unsigned_extensions = true
