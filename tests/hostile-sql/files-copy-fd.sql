-- Writes to the descriptor of the cell's socket.
-- ends: denied nothing to write to
COPY (SELECT 42) TO '/proc/self/fd/0' (FORMAT csv)
