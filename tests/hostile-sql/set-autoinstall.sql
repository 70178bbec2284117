-- Turns autoinstalling on.
-- ends: denied configuration has been locked
SET GLOBAL autoinstall_known_extensions = true
