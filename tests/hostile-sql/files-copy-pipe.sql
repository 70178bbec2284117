-- Writes to a shell command, as other databases can.
-- ends: denied nothing to write to
COPY (SELECT 1) TO '| touch /tmp/x'
