-- Fills a table from a file.
-- ends: denied not an input of this job
CREATE TABLE t (l VARCHAR); COPY t FROM '/etc/passwd' (FORMAT csv, DELIMITER '|')
