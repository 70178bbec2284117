-- Allows what is outside.
-- ends: denied configuration has been locked
SET enable_external_access = true
