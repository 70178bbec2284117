-- Asks for the memory limit, which must be the job's and not the machine's.
-- ends: harmless
-- result: 204.7 MiB
SELECT current_setting('memory_limit')
