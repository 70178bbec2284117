-- Asks for the files of databases the old way.
-- ends: harmless
-- result: 0
SELECT count(*) FROM pragma_database_list WHERE file IS NOT NULL
