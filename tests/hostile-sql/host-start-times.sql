-- Asks when the server was started, which must be the job's time.
-- ends: harmless
-- result: true,true
SELECT pg_postmaster_start_time() = now(), pg_conf_load_time() = now()
