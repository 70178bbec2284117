-- Unlocks the configuration.
-- ends: denied configuration has been locked
SET lock_configuration = false
