-- Sleeps for an hour.
-- ends: denied no clock
SELECT sleep_ms(3600000)
