-- Asks for the number of threads, which must not be that of the machine.
-- ends: harmless
-- result: 1
SELECT current_setting('threads')
