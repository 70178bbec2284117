-- Turns the optimizer off.
-- ends: denied configuration has been locked
PRAGMA disable_optimizer
