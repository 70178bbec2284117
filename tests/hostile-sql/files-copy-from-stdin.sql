-- Fills a table from standard input, which in a cell is the socket to its parent.
-- ends: denied not an input of this job
CREATE TABLE t (l VARCHAR); COPY t FROM '/dev/stdin'
