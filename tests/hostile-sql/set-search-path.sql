-- Looks for names in another schema, which is the query's own affair.
-- ends: harmless
-- result: 7
CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 7 AS i; SET search_path = 's,main'; FROM t
