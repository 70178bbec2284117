-- Forbids what is outside, which would forbid the inputs.
-- ends: denied configuration has been locked
SET enable_external_access = false
