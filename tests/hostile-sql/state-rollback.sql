-- Rolls back what it reads.
-- ends: query Table with name t does not exist
BEGIN; CREATE TABLE t (i INTEGER); ROLLBACK; FROM t
