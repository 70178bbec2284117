-- Makes an index of a type that an extension would bring.
-- ends: query Unknown index type
CREATE TABLE t (v FLOAT[3]); CREATE INDEX i ON t USING HNSW (v)
