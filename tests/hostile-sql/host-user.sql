-- Asks who runs the process.
-- ends: harmless
-- result: duckdb,duckdb,memory,main
SELECT current_user, session_user, current_database(), current_schema()
