-- Writes a tree of folders.
-- ends: denied nothing to write to
COPY (SELECT i % 3 AS p, i FROM range(9) t(i)) TO '/tmp/x' (FORMAT csv, PARTITION_BY (p), OVERWRITE_OR_IGNORE)
