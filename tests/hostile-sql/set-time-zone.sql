-- Changes the time zone.
-- ends: denied configuration has been locked
SET TimeZone = 'Europe/Oslo'
