-- Resets the lock.
-- ends: denied configuration has been locked
RESET lock_configuration
